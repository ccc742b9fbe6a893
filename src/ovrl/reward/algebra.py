"""Ask Math-Verify, in steps that are bounded: find the expressions in a text, read them, compare two of them.

The library's patterns find the expressions and its grammar reads what `latex` cannot; `settle` decides what
needs no algebra. Text is never evaluated: plain expressions, which the library hands to Python's evaluator, are
read by `plain_expression`. What is left of that path inside the library is the number tokens of its LaTeX
grammar: digits, a point and an exponent.
"""

import functools
import logging
import re
import string
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from latex2sympy2_extended import latex2sympy
from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, verify
from math_verify.parser import extract_latex, get_extraction_regexes
from sympy import Expr, Float, Integer, Mul, Rational, Symbol, UnevaluatedExpr
from sympy.utilities.exceptions import SymPyDeprecationWarning

from ovrl.reward import latex
from ovrl.reward.bounds import has_simple_relations, is_bounded_text, is_bounded_tree
from ovrl.reward.mathvalue import Group, Scalar, Value
from ovrl.reward.plain_expression import exact, tree_of, unevaluated
from ovrl.reward.polynomial import OutOfBoundsError, Polynomial
from ovrl.reward.refusal import RefusedError
from ovrl.reward.settle import settled

# Time limits are the worker pool's: the library's alarms only work in a main thread. It says so once.
logging.getLogger("math_verify").setLevel(logging.ERROR)
# The library multiplies sets, which sympy will no longer do one day: nothing for whoever scores.
warnings.filterwarnings("ignore", category=SymPyDeprecationWarning)

Target = ExprExtractionConfig | LatexExtractionConfig | StringExtractionConfig

_TEXT = (StringExtractionConfig(strings=tuple(string.ascii_letters)), LatexExtractionConfig(), ExprExtractionConfig())
_LATEX = (LatexExtractionConfig(),)
# What sympy raises on sums of sets, logarithms of matrices and the like; the library takes it for a difference.
_NONSENSE = (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, NotImplementedError)
_TIDY = NormalizationConfig()

PERCENT_NUMBER = re.compile(r"[0-9.]\s*\\?%")
"""What the grammar of the original's antlr version (4.11) failed on, whatever stood around it."""

_CACHED = 4_096


_LIBRARY = object()
"""The value of a match that the library has read and that is not read here."""

MAX_CHARS = 2_000
"""Of a text in which an expression is searched; a longer one holds an essay and no answer."""


@dataclass(frozen=True, slots=True)
class _Undefined:
    """What a division by zero gives: it equals nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """An expression as it stands in a text; the library reads it when it must."""

    value: "str | Value | _Undefined | None"
    """None: only the library can read it."""
    match: "re.Match[str]"
    target: Target


@dataclass(frozen=True, slots=True)
class Reading:
    """What the library takes from a text: the first expression that can be read, and the first text it saw."""

    found: _Found | None
    first: str | None


def same_text(gold: str, answer: str) -> bool:
    """Tell whether Math-Verify finds two texts equal, with letters, LaTeX and plain expressions as targets.

    Raises:
        RefusedError: the comparison has no bound.
    """
    return _same((gold, answer), _TEXT, relations=False)


def same_latex(gold: str, answer: str) -> bool:
    """Tell whether Math-Verify finds two LaTeX expressions, without their dollar signs, equal.

    Sets and inequalities may stand for one another. Raises RefusedError as `same_text` does.
    """
    return _same((f"${gold}$", f"${answer}$"), _LATEX, relations=True)


def _same(texts: tuple[str, str], targets: tuple[Target, ...], *, relations: bool) -> bool:
    gold, answer = _both(lambda text: _read(text, targets), *texts)
    if any(left and left == right for left in _texts(gold) for right in _texts(answer)):
        return True
    left, right = gold.found, answer.found
    if left is None or right is None or isinstance(left.value, str) or isinstance(right.value, str):
        return False
    if isinstance(left.value, _Undefined) or isinstance(right.value, _Undefined):
        return False
    if left.value is not None and right.value is not None:
        verdict = settled(left.value, right.value, relations=relations)
        if verdict is not None:
            return verdict
    return _same_by_algebra(*_both(_expression, left, right), relations=relations)


def _both(step: Callable[[Any], Any], gold: Any, answer: Any) -> tuple[Any, Any]:
    """Take a step on both sides; raise RefusedError with all that are to blame."""
    done: list[Any] = []
    refused: list[bool] = []
    for side in (gold, answer):
        try:
            done.append(step(side))
        except RefusedError:
            refused.append(True)
        else:
            refused.append(False)
    if any(refused):
        raise RefusedError(gold=refused[0], answer=refused[1])
    return done[0], done[1]


def _texts(reading: Reading) -> list[str]:
    found = reading.found.value if reading.found else None
    return [text.strip() for text in (found, reading.first) if isinstance(text, str)]


@functools.lru_cache(maxsize=_CACHED)
def _read(text: str, targets: tuple[Target, ...]) -> Reading:
    """Find the expression that counts, as the library ranks them: by priority, then from the right."""
    first: str | None = None
    if len(text) > MAX_CHARS:
        raise RefusedError
    for matches in _ranked(text, targets):
        for match, target in matches:
            if isinstance(target, ExprExtractionConfig) and not match[0].isascii() and _has_foreign_digits(match[0]):
                return Reading(None, None)  # sympy takes them for a name and the library gives up
            value, shown = _value(match, target)
            if targets is _TEXT and isinstance(target, LatexExtractionConfig) and PERCENT_NUMBER.search(shown):
                value = None
            if first is None and shown:
                first = shown
            if value is not None:
                return Reading(_Found(value if value is not _LIBRARY else None, match, target), first)
    return Reading(None, first)


def _has_foreign_digits(text: str) -> bool:
    return any(char.isdigit() and not char.isascii() for char in text)


def _ranked(text: str, targets: tuple[Target, ...]) -> "Iterator[list[tuple[re.Match[str], Target]]]":
    for patterns in _patterns(targets).values():
        found = [
            (match, target)
            for pattern, target in patterns
            if _may_match(pattern, target, text)
            for match in pattern.finditer(text)
        ]
        found.sort(key=lambda item: (item[0].end(), -item[0].start()), reverse=True)
        yield found


@functools.cache
def _patterns(targets: tuple[Target, ...]) -> "dict[int, list[tuple[re.Pattern[str], Target]]]":
    """Return the library's patterns by priority, low first."""
    ranked: dict[int, list[tuple[re.Pattern[str], Target]]] = {}
    for patterns, target in get_extraction_regexes(targets):
        for pattern, priority in patterns:
            ranked.setdefault(priority, []).append((pattern, target))
    return dict(sorted(ranked.items()))


def _may_match(pattern: "re.Pattern[str]", target: Target, text: str) -> bool:
    """Leave out patterns whose fixed words the text lacks: most texts have none of them."""
    if "answer" in pattern.pattern and "answer" not in text.casefold():
        return False
    if isinstance(target, LatexExtractionConfig):
        return "\\boxed" in text if "boxed{" in pattern.pattern else not {"$", "\\", "["}.isdisjoint(text)
    return True


def _value(match: "re.Match[str]", target: Target) -> tuple[Any, str]:
    """Return what a match says and the text that the library falls back on; None for what it cannot read."""
    if isinstance(target, StringExtractionConfig):
        return match["string_keys"].lower(), match["string_keys"]
    if isinstance(target, LatexExtractionConfig):
        return _latex_value(match, target)
    expression = match.groupdict().get("expr")
    return (_plain_value(expression), expression) if expression else _number_value(match)


def _number_value(match: "re.Match[str]") -> tuple[Scalar, str]:
    groups = match.groupdict()
    whole = next((groups[name] for name in ("integer1", "integer2", "integer3") if groups.get(name)), "")
    decimal = next((groups[name] for name in ("decimal1", "decimal2", "decimal3") if groups.get(name)), "")
    text = (whole.replace(",", "").replace(" ", "").lstrip("0") or "0") + decimal.replace(",", ".")
    number = Scalar(Polynomial.number(Fraction(text)), "decimal" if decimal else "integer", bool(decimal))
    return (_percent(number) if groups.get("percent") else number), text


def _percent(number: Scalar) -> Scalar:
    return Scalar(number.value / Polynomial.number(100), "percent", number.has_decimals)


def _latex_value(match: "re.Match[str]", target: LatexExtractionConfig) -> tuple[Any, str]:
    parts = list(_latex_parts(match, target))
    shown = " and ".join(text for text, _ in parts) if len(parts) > 1 else parts[0][0] if parts else ""
    values = [latex.read(text) for text, _ in parts]
    if values and None not in values:
        value = _joined(values, [is_percent for _, is_percent in parts])
        if value is not None:
            return value, shown
    if not all(is_bounded_text(text) for text, _ in parts):
        raise RefusedError
    parsed, shown = extract_latex(match, target)
    if parsed is not None and not is_bounded_tree(parsed):
        raise RefusedError
    return (None if parsed is None else _LIBRARY), shown


def _latex_parts(match: "re.Match[str]", target: LatexExtractionConfig) -> Iterator[tuple[str, bool]]:
    """Yield each formula of a match, normalised by the library, and whether a percent sign follows it."""
    groups = match.groupdict()
    for prefix in ("first", *(f"next{number}" for number in range(1, 6))):
        name = next((name for name, text in groups.items() if name.startswith(f"{prefix}_latex") and text), None)
        if name is not None:
            config = target.normalization_config
            if name.endswith("latexBoxed"):
                config = replace(config, boxed="last")
            yield normalize_latex(groups[name], config), bool(groups.get(f"{prefix}_percent"))


def _joined(values: list[Any], percents: list[bool]) -> Value | None:
    if any(percents):
        if not all(isinstance(value, Scalar) and value.kind in ("integer", "decimal") for value in values):
            return None
        values = [_percent(value) if is_percent else value for value, is_percent in zip(values, percents, strict=True)]
    if len(values) == 1:
        return values[0]
    return None if any(isinstance(value, Group) for value in values) else Group(tuple(values), is_ordered=False)


def _plain_value(text: str) -> Scalar | _Undefined | None:
    """Read an expression of digits and operators; None where Python's syntax, and so sympy's, has no such text."""
    tree = tree_of(text)
    if tree is None:
        return None
    try:
        return exact(tree)
    except ZeroDivisionError:
        return _Undefined()
    except OutOfBoundsError as error:
        raise RefusedError from error


def _expression(found: _Found) -> Any:
    """Return the sympy object of a match."""
    if isinstance(found.target, LatexExtractionConfig):
        parsed = extract_latex(found.match, found.target)[0]
        if parsed is None or not is_bounded_tree(parsed):
            raise RefusedError
        return parsed
    groups = found.match.groupdict()
    if groups.get("expr"):
        tree = tree_of(groups["expr"])
        assert tree is not None
        return unevaluated(tree)
    text = _number_value(found.match)[1]
    number = Float(text) if "." in text else Integer(int(text))
    return Mul(number, UnevaluatedExpr(Rational(1, 100)), evaluate=False) if groups.get("percent") else number


def _same_by_algebra(gold: Any, answer: Any, *, relations: bool) -> bool:
    try:
        if _differ_by_value(gold, answer):
            return False
        if gold != answer and not (has_simple_relations(gold) and has_simple_relations(answer)):
            return False  # the library would solve them
    except _NONSENSE:
        return False
    return verify([gold], [answer], allow_set_relation_comp=relations, timeout_seconds=None)


def _differ_by_value(gold: Any, answer: Any) -> bool:
    """Tell whether two expressions have clearly different values at a point, so that none need be simplified."""
    if not isinstance(gold, Expr) or not isinstance(answer, Expr):
        return False
    if (
        gold.has(UnevaluatedExpr)
        or answer.has(UnevaluatedExpr)
        or isinstance(gold, Symbol)
        or isinstance(answer, Symbol)
    ):
        return False
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    point: Any = {symbol: Rational(617 + 101 * number, 431) for number, symbol in enumerate(symbols)}
    try:
        left, right = (complex(side.subs(point).evalf(15, maxn=60)) for side in (gold, answer))
    except TypeError:
        return False  # no number: a function without a name, or no value there
    return abs(left - right) > 2e-6 + 1e-9 * max(abs(left), abs(right))


def latex_text(normal: str) -> str | None:
    """Return how sympy prints what `latex2sympy` reads; None for what is no LaTeX or has no bound."""
    if not is_bounded_text(normal):
        return None
    try:
        parsed = latex2sympy(normal, normalization_config=None)
    except Exception:  # noqa: BLE001 - the parser raises a plain Exception on what is no LaTeX
        return None
    return str(parsed) if is_bounded_tree(parsed) else None


def normalised(text: str) -> str:
    """Return the text as `latex2sympy` would tidy it up before reading it."""
    return normalize_latex(text, _TIDY)
