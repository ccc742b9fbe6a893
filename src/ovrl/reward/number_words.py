"""Read counts that are spelled out in English: "seven", "minus twenty-one", "two and a half million", "a dozen"."""

import re
from fractions import Fraction

Number = int | Fraction

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SCALES = {"hundred": 100, "dozen": 12} | _SCALES
"""Words that multiply the number before them, be it in digits or in words."""
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[^a-z\s-]")
_POINTERS = frozenset(
    {"the", "this", "that", "which", "each", "every", "no", "another", "other", "any", "some", "last"}
)
"""Words before a "one" that is no number: "the one on the left", "the red one"."""
_COUNTED = frozenset({"is", "answer", "total", "number", "count", "result"})
"""Words that "the" may go with before a "one" that is a number."""
_SIGNS = frozenset({"minus", "negative"})
_ARTICLES = frozenset({"a", "an"})

_Found = tuple[Number, int] | None
"""A number and the place behind it."""


def read(text: str) -> list[Number]:
    """Return the numbers that are spelled out in a text, in their order, but for denied ones; digits are not read."""
    words = [*_WORD.findall(text.lower().replace("’", "'")), "", "", ""]
    found: list[Number] = []
    at, end = 0, len(words) - 3
    while at < end:
        number = _signed(words, at)
        if number is None:
            at += 1
            continue
        if not is_denial(words[at - 1] if at else ""):
            found.append(number[0])
        at = number[1]
    return found


def is_denial(word: str) -> bool:
    """Tell whether the number behind this word is denied: "not three"."""
    return word == "not" or word.endswith("n't")


def _signed(words: list[str], at: int) -> _Found:
    if words[at] in _SIGNS:
        number = _mixed(words, at + 1)
        return None if number is None else (-number[0], number[1])
    return _mixed(words, at)


def _mixed(words: list[str], at: int) -> _Found:
    """Read a number with the part behind it, in words, that is no whole one."""
    if part := _fraction(words, at):
        return part
    if words[at] == "half" and words[at + 1] in _ARTICLES and words[at + 2] == "dozen":
        return 6, at + 3
    number = _whole(words, at)
    if number is None:
        return None
    value, at = number
    if words[at] == "point" and (digits := _digits(words, at + 1)):
        value, at = value + Fraction(int(digits), 10 ** len(digits)), at + 1 + len(digits)
    elif words[at] == "and" and (part := _fraction(words, at + 1)):
        value, at = value + part[0], part[1]
    if words[at] in SCALES and not isinstance(value, int):  # two and a half million
        value, at = value * SCALES[words[at]], at + 1
    return value, at


def _fraction(words: list[str], at: int) -> _Found:
    """Read "a half", "one third", "three quarters"; also a lone "half"."""
    if words[at] == "half" and at == 0 and not words[1]:
        return Fraction(1, 2), 1
    noun = words[at + 1]
    if words[at] in ("a", "one"):
        return (Fraction(1, _PARTS[noun]), at + 2) if noun in ("half", "third", "quarter") else None
    above, below = _VALUES.get(words[at], 0), _PARTS.get(noun.removesuffix("s"), 0)
    return (Fraction(above, below), at + 2) if noun.endswith("s") and above > 1 and below > 2 else None


def _digits(words: list[str], at: int) -> str:
    """Return the digits that are spelled out one by one."""
    digits = ""
    while (value := _VALUES.get(words[at], 10)) < 10:
        digits, at = digits + str(value), at + 1
    return digits


def _whole(words: list[str], at: int) -> _Found:
    total, last = 0, 10**15
    while part := _below_thousand(words, at):
        value, behind = part
        scale = _SCALES.get(words[behind])
        if scale is None or scale >= last or not value:
            return total + value, behind
        total, last, at = total + value * scale, scale, behind + 1
        more = at + (words[at] == "and")
        follower = _below_thousand(words, more)
        if follower is None or (words[more] in _ARTICLES):
            return total, at
        if _SCALES.get(words[follower[1]], 1) >= last:
            return total, at
        at = more
    return None


def _below_thousand(words: list[str], at: int) -> tuple[int, int] | None:
    """Read up to "nine hundred ninety-nine", "a hundred", "twelve hundred", "two dozen"."""
    part = _below_hundred(words, at)
    if part is None:
        if words[at] in _ARTICLES and words[at + 1] in SCALES:
            part = 1, at + 1
        elif at == 0 and words[0] in SCALES:
            part = 1, 0
        else:
            return None
    value, at = part
    if value and words[at] == "dozen":
        return 12 * value, at + 1
    if not value or words[at] != "hundred":
        return value, at
    value, at = 100 * value, at + 1
    rest = _below_hundred(words, at + (words[at] == "and"))
    return (value + rest[0], rest[1]) if rest and rest[0] else (value, at)


def _below_hundred(words: list[str], at: int) -> tuple[int, int] | None:
    word = words[at]
    value = _VALUES.get(word)
    if value is None or (word == "one" and at and _points(words[at - 1], words[at - 2] if at > 1 else "")):
        return None
    unit = _VALUES.get(words[at + 1], 0) if value >= 20 else 0
    return (value + unit, at + 2) if 0 < unit < 10 else (value, at + 1)


def _points(before: str, earlier: str) -> bool:
    """Tell whether a "one" behind these words is no number."""
    return before in _POINTERS or (earlier == "the" and before not in _COUNTED)
