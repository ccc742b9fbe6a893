"""Refuse, before anything is computed, what a computer algebra could not finish in a moment.

Two looks: at the text, before the library's parser sees it (some of its operators compute while they are
parsed), and at the parsed tree, before it is simplified. Both only count and compare; neither evaluates.
"""

import re
from typing import Any

MAX_CHARS = 500
"""Of LaTeX for the full grammar: its parser needs about 2 ms for each token."""

_MAX_DEPTH = 15
_MAX_DIGITS = 60
_MAX_ROOTS = 6
_MAX_ENTRIES = 25
_MAX_NODES = 300
_MAX_BITS = 20_000
_MAX_FACTORIAL = 200
_MAX_OUTER_POWER = 30
_MATRIX_POWERS = (-1, 2, 3)
_MAX_POWER_ROWS = 3
_MAX_UNKNOWNS = 3
_MAX_DEGREE = 4

# Evaluated while parsing, or only by a search without end.
_COMPUTES = re.compile(
    r"\\(?:i*int|oint|sum|prod|lim|det|operatorname|choose|Gamma|norm|xrightarrow|mod|partial)(?![a-z])"
    r"|\\gamma\s*[({]|[dtc]?binom|gcd|lcm|vmatrix|\\begin\s*\{(?!(?:p|b|small)?matrix|cases|array)|\|_|\\\||\\frac\s*\{\s*d\b"
)
_DIGITS = re.compile(r"[0-9](?:[0-9., ]*[0-9])?")
_TWICE = re.compile(r"!\s*[)}\]\s]*!")
_LARGE_FACTORIAL = re.compile(r"(?:[0-9]{3}|[)}\]])\s*!")
_PERMUTATION = re.compile(r"\(([0-9]{1,2})\)!|\(\(([0-9]{1,2})\)-\(([0-9]{1,2})\)\)!")
_OPENING, _CLOSING = "({[", ")}]"


def is_bounded_text(latex: str) -> bool:
    """Tell whether the library may parse a LaTeX text: short, flat, small numbers, nothing that computes."""
    if len(latex) > MAX_CHARS or _COMPUTES.search(latex) or _depth(latex) > _MAX_DEPTH:
        return False
    if latex.count("&") + latex.count("\\\\") > _MAX_ENTRIES or latex.count("sqrt") > _MAX_ROOTS:
        return False
    if any(len(match[0]) > _MAX_DIGITS for match in _DIGITS.finditer(latex)):
        return False
    if _TWICE.search(latex) or _LARGE_FACTORIAL.search(_PERMUTATION.sub("", latex)):
        return False
    return _has_small_powers(latex)


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif char in _CLOSING:
            depth = max(0, depth - 1)
    return deepest


def _has_small_powers(text: str) -> bool:
    """Tell whether no exponent is a tower of numbers or has more than three digits."""
    outer = 1
    for match in re.finditer(r"\^|\*\*", text):
        exponent = _group(text, match.end())
        if any(len(number[0]) > 3 for number in _DIGITS.finditer(exponent)):
            return False
        if re.search(r"(?<![A-Za-z])\s*(?:\^|\*\*)", exponent) or exponent.count("^") > 1 or "!" in exponent:
            return False
        before = text[: match.start()].rstrip()
        if before.endswith((")", "}", "]")):
            outer *= max([1, *(int(re.sub(r"[^0-9]", "", number[0])) for number in _DIGITS.finditer(exponent))])
        after = text[match.end() :].lstrip().removeprefix(exponent).lstrip()
        if after.startswith(("^", "**")):
            return False
    return outer <= _MAX_OUTER_POWER


def _group(text: str, start: int) -> str:
    """Return the bracketed group, the number or the one character that begins at `start`."""
    while start < len(text) and text[start].isspace():
        start += 1
    if start < len(text) and text[start] in _OPENING:
        depth = 0
        for position in range(start, len(text)):
            depth += (text[position] in _OPENING) - (text[position] in _CLOSING)
            if depth == 0:
                return text[start : position + 1]
        return text[start:]
    number = re.compile(r"[-+]?[0-9][0-9., ]*|.?", re.DOTALL).match(text, start)
    return number[0] if number else ""


def is_bounded_tree(expression: Any) -> bool:
    """Tell whether a parsed sympy object may be simplified: few nodes, no operator, no huge number.

    The size of the number that each node could become is estimated from below upwards in bits.
    """
    import sympy

    if not isinstance(expression, sympy.Basic | sympy.MatrixBase):
        return False
    nodes = 0
    refused = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative, sympy.Subs)

    def bits(node: Any) -> float:
        nonlocal nodes
        nodes += 1
        if nodes > _MAX_NODES or isinstance(node, refused):
            return float("inf")
        if isinstance(node, sympy.Rational):
            return max(node.p.bit_length(), node.q.bit_length())
        parts = [bits(part) for part in getattr(node, "args", ())]
        if isinstance(node, sympy.factorial):
            number = node.args[0]
            is_small = not number.is_number or (isinstance(number, sympy.Integer) and number <= _MAX_FACTORIAL)
            return 2_000.0 if is_small else float("inf")
        if isinstance(node, sympy.Pow | sympy.MatPow) and (shape := getattr(node.base, "shape", None)):
            is_small = node.exp in _MATRIX_POWERS and max(shape) <= _MAX_POWER_ROWS
            return sum(parts, 1.0) * 8 if is_small else float("inf")
        if isinstance(node, sympy.Pow) and isinstance(node.exp, sympy.Rational):
            return parts[0] * max(1.0, abs(float(node.exp)))
        if isinstance(node, sympy.Pow) and node.exp.is_number:
            # A number raised to an expression: small when the exponent is.
            return parts[0] * 2.0 ** min(parts[1], 64.0)
        return sum(parts, 1.0)

    return bits(expression) <= _MAX_BITS


def has_simple_relations(expression: Any) -> bool:
    """Tell whether all equations and inequalities in a sympy object are polynomials of low degree, soon solved."""
    import sympy

    for relation in expression.atoms(sympy.core.relational.Relational):
        symbols = relation.free_symbols
        if not isinstance(relation.lhs, sympy.Expr) or not isinstance(relation.rhs, sympy.Expr):
            continue  # a name for a set: nothing is solved
        if len(symbols) > _MAX_UNKNOWNS or not symbols:
            return not symbols
        try:
            difference = sympy.Poly(sympy.expand(relation.lhs - relation.rhs), *sorted(symbols, key=str))
        except sympy.PolynomialError:
            return False
        if difference.total_degree() > _MAX_DEGREE:
            return False
    return True
