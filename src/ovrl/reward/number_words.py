"""Read counts that are spelled out in English: "seven", "twenty-one chairs", "one hundred and five"."""

import re

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_SCALES = {"hundred": 100, "thousand": 1000}
_WORD = re.compile(r"[a-z]+|[^a-z\s-]")
_POINTERS = frozenset(
    {"the", "this", "that", "which", "each", "every", "no", "another", "other", "any", "some", "last"}
)
"""Words before a "one" that is no number: "the one on the left"."""


def read(text: str) -> list[int]:
    """Return the numbers that are spelled out in a text, in their order; digits are not read."""
    found: list[int] = []
    total = part = 0
    is_open, last = False, ""
    for word in [*_WORD.findall(text.lower()), ""]:
        value, scale = _VALUES.get(word), _SCALES.get(word)
        if word == "one" and last in _POINTERS:
            value = None
        if value is not None and (not is_open or _continues(part, value, last)):
            part, is_open = part + value, True
        elif scale == 100 and is_open and 0 < part < 10:
            part *= 100
        elif scale == 1000 and is_open and not total and part:
            total, part = 1000 * part, 0
        elif not (word == "and" and is_open and last in _SCALES):
            if is_open:
                found.append(total + part)
            total, part, is_open = 0, value or 0, value is not None
        last = word
    return found


def _continues(part: int, value: int, last: str) -> bool:
    """Tell "twenty one" and "hundred five", which are one number, from "two three"."""
    if part == 0:
        return last in ("thousand", "and")
    if part % 100 == 0:
        return value < 100 and last in ("hundred", "and")
    return part % 100 >= 20 and part % 10 == 0 and 0 < value < 10 and last in _TENS
