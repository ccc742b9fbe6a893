"""Say what Math-Verify would say about two values that `latex` can read, or None where only it can tell.

The rules are the library's (0.9.0, strict variables): a value against the right side of an equation, sets by
their elements, half-open intervals by their ends, decimals to six places, percent signs that may be missing.
An answer is given only with a margin: where rounding or the form of an expression could decide, it is None.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from ovrl.reward.mathvalue import Group, Matrix, Relation, Scalar, Span, Union, Value
from ovrl.reward.polynomial import OutOfBoundsError, Polynomial

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "="}
_NEAR = 2e-6
"""Two decimals that are further apart differ after rounding to six places."""
_FAINT = Fraction(1, 10**13)
"""Smaller differences vanish in the library's 15 digits."""


def settled(gold: Value, answer: Value, *, relations: bool) -> bool | None:
    """Tell whether the library finds two values equal.

    Args:
        gold: the value in the library's gold position.
        answer: the value in its target position.
        relations: whether a set as gold may be answered by an inequality (`allow_set_relation_comp`).
    """
    gold, answer = _unwrapped(gold, answer)
    if isinstance(gold, Relation) and isinstance(answer, Span | Union):
        span = _solved(gold)
        return None if span is None else settled(span, answer, relations=relations)
    if relations and isinstance(answer, Relation) and isinstance(gold, Span | Union):
        span = _solved(answer)
        return None if span is None else settled(gold, span, relations=relations)
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return _same_relation(gold, answer, relations=relations)
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return None if isinstance(gold, Group) or isinstance(answer, Group) else False
    if isinstance(gold, Scalar) and isinstance(answer, Scalar):
        return _same_scalar(gold, answer)
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        return _same_matrix(gold, answer)
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        return False if isinstance(gold, Scalar | Group) or isinstance(answer, Scalar | Group) else None
    if isinstance(gold, Union) or isinstance(answer, Union):
        return True if gold == answer else None
    return _same_sets(gold, answer)


def _solved(relation: Relation) -> Span | None:
    """Return the interval of a letter between numbers, or on one side of a number."""
    parts, signs = list(relation.parts), list(relation.signs)
    if all(sign in (">", ">=") for sign in signs):
        parts.reverse()
        signs = [_FLIPPED[sign] for sign in reversed(signs)]
    if not all(sign in ("<", "<=") for sign in signs):
        return None
    if len(parts) == 2:
        is_below = isinstance(parts[0], Scalar) and parts[0].kind == "letter"
        end = Scalar(Polynomial.letter("\\infty") if not is_below else -Polynomial.letter("\\infty"), "infinite")
        parts, signs = ([end, *parts], ["<", *signs]) if is_below else ([*parts, end], [*signs, "<"])
    if len(parts) != 3:
        return None
    low, letter, high = parts
    if not (isinstance(low, Scalar) and isinstance(letter, Scalar) and isinstance(high, Scalar)):
        return None
    if letter.kind != "letter" or any(end.kind not in ("integer", "rational", "infinite") for end in (low, high)):
        return None
    ends = [end.value.rational for end in (low, high)]
    if ends[0] is not None and ends[1] is not None and ends[0] >= ends[1]:
        return None
    return Span(low, high, ("(" if signs[0] == "<" else "[") + (")" if signs[1] == "<" else "]"))


def _unwrapped(gold: Value, answer: Value) -> tuple[Value, Value]:
    """Drop the left side of an equation that only one side has; a chain of assignments becomes one."""
    gold, answer = _shortened(gold), _shortened(answer)
    if _is_equation(answer) and not _is_equation(gold):
        assert isinstance(answer, Relation)
        answer = answer.parts[-1]
    elif _is_assignment(gold) and not _is_equation(answer):
        assert isinstance(gold, Relation)
        gold = gold.parts[-1]
    return gold, answer


def _shortened(value: Value) -> Value:
    if isinstance(value, Relation) and len(value.signs) > 1 and _is_assignment(value):
        return Relation((value.parts[0], value.parts[-1]), ("=",))
    return value


def _is_equation(value: Value) -> bool:
    return isinstance(value, Relation) and set(value.signs) == {"="}


def _is_assignment(value: Value) -> bool:
    """Tell whether the left side is made of letters alone, such as x or x y."""
    if not isinstance(value, Relation) or not _is_equation(value):
        return False
    left = value.parts[0]
    return isinstance(left, Scalar) and left.kind == "letter"


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    return False if False in found else None if None in found else True


def _is_constant(difference: Polynomial) -> bool:
    return difference.rational is not None


def _same_relation(gold: Relation, answer: Relation, *, relations: bool) -> bool | None:
    if len(gold.signs) != len(answer.signs):
        return None
    if len(gold.signs) > 1 or len(answer.signs) > 1:
        return True if gold == answer else None
    if not all(isinstance(part, Scalar) for part in (*gold.parts, *answer.parts)):
        return True if gold == answer else None
    if any(isinstance(part, Scalar) and part.has_decimals for part in (*gold.parts, *answer.parts)):
        return True if gold == answer else None
    left, right = _difference(gold), _difference(answer)
    sign, other = "".join(gold.signs), "".join(answer.signs)
    if (sign == other and left == right) or (_FLIPPED[sign] == other and left == -right):
        return True
    if relations and sign == other == "=" and (_is_constant(left - right) or _is_constant(left + right)):
        return False  # no point solves both; the library takes two without solutions for the same
    # Two equations may still have the same solutions, and inequalities are solved as well.
    is_number = _is_assignment(gold) and _is_assignment(answer) and _ends_in_number(gold) and _ends_in_number(answer)
    return False if is_number or ("=" not in (sign, other) and _is_plain(gold, answer)) else None


def _difference(relation: Relation) -> Polynomial:
    left, right = relation.parts
    assert isinstance(left, Scalar)
    assert isinstance(right, Scalar)
    return left.value - right.value


def _ends_in_number(relation: Relation) -> bool:
    end = relation.parts[-1]
    return isinstance(end, Scalar) and end.kind in ("integer", "rational")


def _is_plain(*relations: Relation) -> bool:
    """Tell whether each is a letter against a number, in this order."""
    return all(
        isinstance(relation.parts[0], Scalar) and relation.parts[0].kind == "letter" and _ends_in_number(relation)
        for relation in relations
    )


def _same_matrix(gold: Matrix, answer: Matrix) -> bool | None:
    if len(gold.rows) != len(answer.rows) or len(gold.rows[0]) != len(answer.rows[0]):
        return None
    pairs = (
        (left, right) for rows in zip(gold.rows, answer.rows, strict=True) for left, right in zip(*rows, strict=True)
    )
    return _all(_same_exact(left, right) for left, right in pairs)


def _same_exact(left: Scalar, right: Scalar) -> bool | None:
    if left.kind != "integer" or right.kind != "integer":
        return True if left == right else None
    return left.value == right.value


def _same_sets(gold: Scalar | Span | Group, answer: Scalar | Span | Group) -> bool | None:
    if isinstance(gold, Span) and isinstance(answer, Span):
        return gold.brackets == answer.brackets and _all(
            _same_scalar(left, right) for left, right in ((gold.low, answer.low), (gold.high, answer.high))
        )
    if isinstance(gold, Span) or isinstance(answer, Span):
        return _same_as_point(gold, answer)
    left, right = _members(gold), _members(answer)
    if isinstance(gold, Group) and gold.is_ordered and isinstance(answer, Group):
        # A tuple against a tuple or a set as it was written.
        if len(left) != len(right) or (not answer.is_ordered and _has_doubles(right)):
            return None if _has_doubles(right) else False
        return _all(settled(a, b, relations=False) for a, b in zip(left, right, strict=True))
    if not (isinstance(gold, Group) or isinstance(answer, Group)):
        return None
    return _same_members(left, right)


def _same_as_point(gold: Scalar | Span | Group, answer: Scalar | Span | Group) -> bool | None:
    """Compare an open interval with two values: (1, 2) may be a point."""
    span, other = (gold, answer) if isinstance(gold, Span) else (answer, gold)
    assert isinstance(span, Span)
    if not isinstance(other, Group):
        return False
    if span.brackets != "()" or len(other.items) != 2:
        return None if _has_doubles(list(other.items)) else False
    point = Group((span.low, span.high), is_ordered=True)
    return _same_sets(point, answer) if gold is span else _same_sets(gold, point)


def _members(value: Scalar | Span | Group) -> list[Value]:
    return list(value.items) if isinstance(value, Group) else [value]


def _has_doubles(items: Sequence[Value]) -> bool:
    """Tell whether two members may be one and the same."""
    places = [_sort_place(item) for item in items]
    return None in places or len({round(place, 4) for place in places if place is not None}) < len(places)


def _same_members(gold: list[Value], answer: list[Value]) -> bool | None:
    """Compare members in the order of their values, as the library sorts them."""
    if _has_doubles(gold) or _has_doubles(answer):
        return None
    if len(gold) != len(answer):
        return False
    pairs = zip(sorted(gold, key=_order), sorted(answer, key=_order), strict=True)
    return _all(settled(left, right, relations=False) for left, right in pairs)


def _order(item: Value) -> float:
    return _sort_place(item) or 0.0


def _sort_place(item: Value) -> float | None:
    """Return the number by which a member is sorted; None for what has none."""
    if isinstance(item, Relation) and len(item.signs) == 1 and _is_assignment(item):
        item = item.parts[-1]
    if not isinstance(item, Scalar) or item.kind in ("percent", "infinite", "letter") or item.value.letters:
        return None
    try:
        return item.value.real()
    except OutOfBoundsError:
        return None


def _same_scalar(gold: Scalar, answer: Scalar) -> bool | None:
    if "letter" in (gold.kind, answer.kind):
        return _same_letter(gold, answer)
    if "infinite" in (gold.kind, answer.kind):
        return gold == answer
    is_equal = gold.value == answer.value
    if gold.value.letters or answer.value.letters:
        # Floats among the coefficients are not followed here.
        return None if gold.has_decimals or answer.has_decimals else is_equal
    if "percent" in (gold.kind, answer.kind) and (by_sign := _same_percent(gold, answer)) is not None:
        return by_sign
    if is_equal and not any(side.kind == "composite" and side.has_decimals for side in (gold, answer)):
        return True
    if "decimal" in (gold.kind, answer.kind):
        return _same_rounded(gold, answer)
    return None if is_equal else _differ_clearly(gold, answer)


def _same_letter(gold: Scalar, answer: Scalar) -> bool | None:
    if gold.kind == answer.kind:
        return gold.value == answer.value
    # "\text{abc}" equals the product abc, and a letter e the constant.
    is_short = all(len(name) == 1 and name != "e" for name in gold.value.letters | answer.value.letters)
    return False if is_short and gold.value != answer.value else None


def _same_percent(gold: Scalar, answer: Scalar) -> bool | None:
    """Return True for 9% against 9, and 9% against 9.0 is left to the values."""
    raw = [side.value * Polynomial.number(100) if side.kind == "percent" else side.value for side in (gold, answer)]
    if (
        gold.has_decimals
        or answer.has_decimals
        or not all(side.kind in ("percent", "integer") for side in (gold, answer))
    ):
        return None
    return True if raw[0] == raw[1] else None


def _same_rounded(gold: Scalar, answer: Scalar) -> bool | None:
    """Compare two numbers, one of which was written as a decimal, to six places; None close to a tie."""
    try:
        places = [side.value.real() * 1e6 for side in (gold, answer)]
    except OutOfBoundsError:
        return None
    if any(abs(place) > 1e13 or abs(place % 1 - 0.5) < 0.01 for place in places):
        return None
    return round(places[0]) == round(places[1])


def _differ_clearly(gold: Scalar, answer: Scalar) -> bool | None:
    """Return False when two numbers are further apart than any rounding; else None."""
    left, right = gold.value.rational, answer.value.rational
    if left is not None and right is not None and not (gold.has_decimals or answer.has_decimals):
        return False if abs(left - right) > _FAINT * max(1, abs(left)) else None
    try:
        a, b = gold.value.real(), answer.value.real()
    except OutOfBoundsError:
        return None
    return False if abs(a - b) > _NEAR + 1e-9 * max(abs(a), abs(b)) else None
