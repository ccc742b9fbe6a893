"""Score counts and plain numbers: one number must be stated, and its value must be the gold's."""

import re
from fractions import Fraction

from ovrl.records import Question, Score
from ovrl.reward import number_words
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored

_DIGITS_AND_DOTS = re.compile(r"[0-9.]++")

# Not a number of its own: part of a word ("CO2"), of a version ("1.2.3"), an index or an exponent ("cm^3").
_BEFORE = r"(?<![A-Za-z0-9_^])(?<![0-9]\.)(?<!\^[-{])(?<!_\{)"
# Groups of three are bounded, so that a long row of them costs linear time.
_BODY = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]{1,3}(?:[ \u00a0\u202f][0-9]{3}){1,9}(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
)
_PLAIN = rf"[-+−]?{_BODY}(?![0-9]|\.[0-9])"
_NUMBER = re.compile(
    rf"\\[dt]?frac\{{\s*({_PLAIN})\s*\}}\{{\s*({_PLAIN})\s*\}}"
    rf"|{_BEFORE}({_PLAIN})(?:\s*/\s*({_PLAIN}))?(?!\s*\^)"
)
Number = int | Fraction
_DIGIT = re.compile(r"[0-9]")
_SEPARATORS = str.maketrans("", "", ", \u00a0\u202f")
_MAX_LENGTH = 400
"""Longer numbers are not read: nobody counts that far, and the arithmetic would cost."""

# What makes one of several numbers the final one: "... total 45", "A total of 10", "the answer is 4".
_MARKED = re.compile(r"(?:\btotal(?:\s+of|\s+is)?|\banswer(?:\s+is)?|\\boxed\{)[ \t]*:?[ \t$*]*\Z", re.IGNORECASE)
_MARKED_AFTER = re.compile(r"\s*(?:in total|in all|altogether)\b", re.IGNORECASE)
_EQUALS = re.compile(r"=>?[ \t$*]*\Z")


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 when the stated number has the gold's value, 0 when it has not or several are stated.

    A gold answer that is not a number is compared as text, unless its digits make no number ("1.2.3"). `ov15`
    compares the last run of digits and dots with the gold as text: no sign, no thousands separators, and a
    full stop spoils it.
    """
    answer = final_answer(completion, mode)
    if mode == "ov15":
        if not question.answer:
            return missed("no_answer", answer)
        runs = _DIGITS_AND_DOTS.findall(answer or "")
        last = runs[-1] if runs else ""
        return graded(last in {gold.strip() for gold in question.answer}, last)
    readings = [(gold, candidates(gold)) for each in question.answer if (gold := each.strip())]
    golds = [(gold, values) for gold, values in readings if values or not _DIGIT.search(gold)]
    if not golds:
        return unscored("invalid_gold")
    text = answer.strip() if answer else ""
    if not text:
        return missed("no_answer", answer)
    stated = candidates(text)
    if any(stated == values if len(values) == 1 else gold.casefold() == text.casefold() for gold, values in golds):
        return graded(1.0, text)
    if not stated:
        return missed("parse_error", text)
    return missed("ambiguous", text) if len(stated) > 1 else graded(0.0, text)


def candidates(text: str) -> list[Number]:
    """Return the different numbers that a text may mean: one when it is clear, none, or several.

    Number words are read where there are no digits. A number that is marked as the total or as the answer,
    or the last one after an equals sign, stands for the whole text.
    """
    if text.isascii() and text.isdigit() and len(text) <= _MAX_LENGTH:
        return [int(text)]
    if not _DIGIT.search(text):
        return list(dict.fromkeys(number_words.read(text[:_MAX_LENGTH])))
    found: list[tuple[Number, int, int]] = []
    for match in _NUMBER.finditer(text):
        if (value := _value(match)) is not None:
            found.append((value, match.start(), match.end()))
    if len(found) < 2:
        return [value for value, _, _ in found]
    marked = [value for value, start, end in found if _is_marked(text, start, end)]
    if not marked:
        value, start, _ = found[-1]
        if _EQUALS.search(text[max(0, start - 8) : start]):
            marked = [value]
    return list(dict.fromkeys(marked or [value for value, _, _ in found]))


def _is_marked(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - 24) : start]
    return bool(_MARKED.search(before) or _MARKED_AFTER.match(text[end : end + 16]))


def _value(match: re.Match[str]) -> Number | None:
    """Return the exact value of a match; None for a division by zero or an absurd length."""
    if match.end() - match.start() > _MAX_LENGTH:
        return None
    above, below = (match[1], match[2]) if match[1] else (match[3], match[4])
    if not below:
        return _plain_value(above)
    divisor = _plain_value(below)
    return Fraction(_plain_value(above)) / divisor if divisor else None


def _plain_value(text: str) -> Number:
    plain = text.replace("−", "-").translate(_SEPARATORS)
    if plain.isdigit():
        return int(plain)
    return Fraction(plain.rstrip(".") if "e" not in plain.lower() else plain)
