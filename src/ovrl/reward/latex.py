"""Read the plain part of LaTeX, in which most answers are written, without computer algebra.

`read` understands numbers, letters, sums, products, powers, roots, tuples, intervals, sets, relations and
matrices, as Math-Verify's grammar does, and returns None for all else. What is read is bounded in depth and
size; nothing is evaluated beyond exact sums and products.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from ovrl.reward.latex_tokens import Token, UnreadError, tokens_of
from ovrl.reward.mathvalue import Group, Kind, Matrix, Relation, Scalar, Span, Union, Value
from ovrl.reward.polynomial import EULER, PI, OutOfBoundsError, Polynomial, whole_root

MAX_CHARS = 400
_MAX_DEPTH = 12
_MAX_DIGITS = 30
_MAX_FACTORIAL = 20

_SIGNS = frozenset({"=", "<", ">", "<=", ">="})
_GROUPED_DIGITS = re.compile(r"\s*-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\s*")


def read(text: str) -> Value | None:
    """Return what a LaTeX text without dollar signs says, or None when only the full grammar can tell."""
    if len(text) > MAX_CHARS:
        return None
    try:
        if _GROUPED_DIGITS.fullmatch(text):
            if text.lstrip(" -").startswith("0"):
                return None  # 0,5 is a decimal to the grammar, and -0,5 is not
            return _number(text.strip().replace(",", ""))
        return _Reader(tokens_of(text)).whole()
    except (UnreadError, OutOfBoundsError, ZeroDivisionError):
        return None


def _number(text: str) -> Scalar:
    if len(text) > _MAX_DIGITS:
        raise UnreadError
    kind: Kind = "decimal" if "." in text else "integer"
    return Scalar(Polynomial.number(Fraction(text)), kind, kind == "decimal")


def _ratio(value: Fraction) -> Scalar:
    return Scalar(Polynomial.number(value), "integer" if value.denominator == 1 else "rational")


def _composite(value: Polynomial, *parts: Scalar) -> Scalar:
    if any(part.kind in ("infinite", "percent") for part in parts):
        raise UnreadError
    return Scalar(value, "composite", any(part.has_decimals for part in parts))


def _is_whole(scalar: Scalar) -> bool:
    return scalar.kind == "integer"


class _Reader:
    """Recursive descent; each method reads one level of the grammar and leaves the position after it."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    def whole(self) -> Value:
        items = self._items()
        if self._kind() != "end":
            raise UnreadError
        return items[0] if len(items) == 1 else Group(tuple(items), is_ordered=False)

    def _kind(self) -> str:
        return self._tokens[self._position][0]

    def _text(self) -> str:
        return self._tokens[self._position][1]

    def _is(self, *signs: str) -> bool:
        return self._kind() == "sign" and self._text() in signs

    def _take(self, sign: str) -> None:
        if not self._is(sign):
            raise UnreadError
        self._position += 1

    def _items(self) -> list[Value]:
        items = [self._item()]
        while self._is(","):
            self._position += 1
            items.append(self._item())
        return items

    def _item(self) -> Value:
        if self._is("\\begin{pmatrix}", "\\begin{bmatrix}"):
            return self._matrix()
        first = self._bracketed()
        if isinstance(first, Span) and self._is("\\cup"):
            return self._union(first)
        if first is not None:
            return first
        parts: list[Scalar | Span | Group] = [self._sum()]
        signs: list[str] = []
        while self._is(*_SIGNS):
            signs.append(self._text())
            self._position += 1
            bracketed = self._bracketed()
            if bracketed is not None and (len(signs) > 1 or signs[0] != "="):
                raise UnreadError
            parts.append(self._sum() if bracketed is None else bracketed)
        if signs:
            return Relation(tuple(parts), tuple(signs))
        assert isinstance(parts[0], Scalar)
        return parts[0]

    def _bracketed(self) -> Span | Group | None:
        """Read an interval, a tuple or a set; None, and no step forward, where none begins."""
        if self._is("{"):
            raise UnreadError  # a set or a group: the grammar decides by what follows
        if not self._is("(", "[", "\\{"):
            return None
        opening = self._text()
        if opening == "(" and not self._has_comma():
            return None
        self._position += 1
        self._enter()
        items = self._items()
        self._depth -= 1
        closing = self._text() if self._kind() == "sign" else ""
        self._position += 1
        if (opening, closing) == ("\\{", "\\}"):
            return Group(tuple(items), is_ordered=False)
        if opening == "\\{" or len(items) == 1 or closing not in (")", "]"):
            raise UnreadError
        return _span_or_tuple(items, opening + closing)

    def _has_comma(self) -> bool:
        """Tell whether the bracket here holds a comma of its own."""
        depth = 0
        for kind, text in self._tokens[self._position :]:
            if kind == "sign":
                depth += text in ("(", "[", "{", "\\{")
                depth -= text in (")", "]", "}", "\\}")
                if depth <= 0:
                    return False
                if text == "," and depth == 1:
                    return True
        return False

    def _union(self, first: Span) -> Union:
        spans = [first]
        while self._is("\\cup"):
            self._position += 1
            following = self._bracketed()
            if not isinstance(following, Span):
                raise UnreadError
            spans.append(following)
        return Union(tuple(spans))

    def _matrix(self) -> Matrix:
        ending = self._text().replace("\\begin", "\\end")
        self._position += 1
        rows: list[list[Scalar]] = [[self._sum()]]
        while not self._is(ending):
            if self._is("&"):
                self._position += 1
                rows[-1].append(self._sum())
            else:
                self._take("\\\\")
                rows.append([self._sum()])
        self._position += 1
        if len({len(row) for row in rows}) != 1:
            raise UnreadError
        return Matrix(tuple(tuple(row) for row in rows))

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnreadError

    def _sum(self) -> Scalar:
        total = self._product()
        while self._is("+", "-"):
            sign = self._text()
            self._position += 1
            term = self._product()
            value = total.value + term.value if sign == "+" else total.value - term.value
            total = _composite(value, total, term)
        return total

    def _product(self) -> Scalar:
        result = self._signed()
        while self._is("*", "/"):
            is_product = self._text() == "*"
            self._position += 1
            factor = self._signed()
            if is_product:
                result = _composite(result.value * factor.value, result, factor)
            else:
                result = _quotient(result, factor)
        return result

    def _signed(self) -> Scalar:
        if self._is("+", "-"):
            sign = self._text()
            self._position += 1
            self._enter()
            operand = self._signed()
            self._depth -= 1
            if sign == "+":
                return operand
            if operand.kind == "percent":
                raise UnreadError
            kind = "composite" if operand.kind == "letter" else operand.kind
            return Scalar(-operand.value, kind, operand.has_decimals)
        return self._juxtaposed()

    def _juxtaposed(self) -> Scalar:
        factors = [self._power()]
        while self._kind() in ("number", "letter") or self._is("(", "\\frac", "\\sqrt", "\\pi"):
            factors.append(self._power())
        if len(factors) == 1:
            return factors[0]
        if any(factor.kind in ("integer", "rational") for factor in factors[1:]):
            return _mixed(factors)
        result = factors[0]
        for factor in factors[1:]:
            result = _composite(result.value * factor.value, result, factor)
        return result

    def _power(self) -> Scalar:
        base = self._atom()
        if self._is("^"):
            self._position += 1
            # A bare exponent is one token of the grammar: a number with all its digits.
            if self._kind() == "number":
                exponent = _number(self._text())
                self._position += 1
            else:
                exponent = self._braced()
            whole = exponent.value.rational
            if not _is_whole(exponent) or whole is None or self._is("^") or (not base.value.terms and whole <= 0):
                raise UnreadError
            base = _composite(base.value ** int(whole), base)
        if self._is("!"):
            self._position += 1
            number = base.value.rational
            if not _is_whole(base) or number is None or not 0 <= number <= _MAX_FACTORIAL or self._is("!"):
                raise UnreadError
            base = _composite(_factorial(int(number)), base)
        return base

    def _atom(self) -> Scalar:
        kind, text = self._tokens[self._position]
        self._position += 1
        if kind == "number":
            return _number(text)
        if kind == "percent":
            if len(self._tokens) > 2:
                raise UnreadError  # a percent sign inside an expression is another operator
            number = _number(text)
            return Scalar(number.value / Polynomial.number(100), "percent", number.has_decimals)
        if kind == "letter" and text == "e":
            return Scalar(Polynomial.letter(EULER), "composite")
        if kind == "letter":
            return Scalar(Polynomial.letter(_name(text)), "letter")
        reader: Callable[[], Scalar] | None = {
            "(": lambda: self._closed(")"),
            "{": lambda: self._closed("}"),
            "\\frac": self._fraction,
            "\\sqrt": self._root,
            "\\pi": lambda: Scalar(Polynomial.letter(PI), "composite"),
            "\\infty": lambda: Scalar(Polynomial.letter("\\infty"), "infinite"),
        }.get(text)
        if kind != "sign" or reader is None:
            raise UnreadError
        return reader()

    def _closed(self, closing: str) -> Scalar:
        self._enter()
        inner = self._sum()
        self._depth -= 1
        self._take(closing)
        return inner

    def _braced(self) -> Scalar:
        self._take("{")
        return self._closed("}")

    def _fraction(self) -> Scalar:
        return _quotient(self._braced(), self._braced())

    def _root(self) -> Scalar:
        index = self._root_index()
        radicand = self._braced()
        if radicand.has_decimals or radicand.kind == "percent":
            raise UnreadError
        if index == 2:
            return _composite(radicand.value.root(), radicand)
        number = radicand.value.rational
        if not _is_whole(radicand) or number is None or not 0 < number < 10**9:
            raise UnreadError
        root = whole_root(int(number), index)
        if root is None:
            raise UnreadError
        return _composite(Polynomial.number(root), radicand)

    def _root_index(self) -> int:
        if not self._is("["):
            return 2
        self._position += 1
        kind, text = self._tokens[self._position]
        if kind != "number" or text not in ("3", "4", "5"):
            raise UnreadError
        self._position += 1
        self._take("]")
        return int(text)


def _quotient(above: Scalar, below: Scalar) -> Scalar:
    dividend, divisor = above.value.rational, below.value.rational
    if _is_whole(above) and _is_whole(below) and dividend is not None and divisor:
        return _ratio(dividend / divisor)
    return _composite(above.value / below.value, above, below)


def _mixed(factors: list[Scalar]) -> Scalar:
    """Return 3 + 1/2 for 3 1/2: whole numbers before a positive number are added, as the grammar does it."""
    *wholes, last = factors
    total = last.value.rational
    if last.kind not in ("integer", "rational") or total is None or total <= 0:
        raise UnreadError
    for factor in reversed(wholes):
        whole = factor.value.rational
        if not _is_whole(factor) or whole is None or whole < 0 or total <= 0:
            raise UnreadError
        total += whole
    return _ratio(total)


def _factorial(number: int) -> Polynomial:
    result = 1
    for factor in range(2, number + 1):
        result *= factor
    return Polynomial.number(result)


def _name(text: str) -> str:
    if text.startswith("\\text"):
        name = "".join(text[len("\\text{") : -1].split()).lower()
        if not name or name in ("pi", "gamma"):
            raise UnreadError
        return name
    name = text.lower().removeprefix("\\")
    return name[:-3] + name[-2] if re.search(r"_\{.\}", name) else name


def _span_or_tuple(items: list[Value], brackets: str) -> Span | Group:
    if len(items) != 2:
        if brackets not in ("()", "[]"):
            raise UnreadError
        return Group(tuple(items), is_ordered=True)
    low, high = items
    if not isinstance(low, Scalar) or not isinstance(high, Scalar):
        if brackets not in ("()", "[]") or isinstance(low, Scalar) or isinstance(high, Scalar):
            raise UnreadError
        return Group((low, high), is_ordered=True)
    if low.value.letters - {"\\infty"} or high.value.letters - {"\\infty"}:
        raise UnreadError
    ends = [_place(low), _place(high)]
    if abs(ends[0] - ends[1]) < 1e-9:
        raise UnreadError
    if ends[0] < ends[1]:
        return Span(low, high, brackets)
    if brackets not in ("()", "[]"):
        raise UnreadError
    return Group((low, high), is_ordered=True)


def _place(end: Scalar) -> float:
    if end.kind != "infinite":
        return end.value.real()
    return float("inf") if end.value.terms == Polynomial.letter("\\infty").terms else float("-inf")
