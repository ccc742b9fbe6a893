"""Score counts and plain numbers: one number must be stated, and its value must be the gold's."""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from ovrl.records import Question, Score
from ovrl.reward import number_words
from ovrl.reward.extract import final_answer
from ovrl.reward.number_words import Number
from ovrl.reward.outcome import Mode, graded, missed, unscored

_DIGITS_AND_DOTS = re.compile(r"[0-9.]++")

# Not a number of its own: part of a word ("CO2"), of a version ("1.2.3"), an index or an exponent ("cm^3").
_BEFORE = r"(?<![A-Za-z0-9_^])(?<![0-9]\.)(?<!\^[-{])(?<!_\{)"
# Groups of three are bounded, so that a long row of them costs linear time.
_BODY = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]{1,3}(?:[ \u00a0\u202f][0-9]{3}){1,9}(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]{1,2}(?:,[0-9]{2}){1,9},[0-9]{3}(?![0-9])"  # lakhs and crores
    r"|[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
)
_PLAIN = rf"[-+−]?{_BODY}(?![0-9]|\.[0-9])"
_NUMBER = re.compile(
    rf"\\[dt]?frac\{{\s*({_PLAIN})\s*\}}\{{\s*({_PLAIN})\s*\}}"
    rf"|{_BEFORE}(?:([-+−]?[0-9]{{1,9}})(?:[ ]([1-9][0-9]?)/([1-9][0-9]?)(?![0-9/])"
    r"|\s?\\[dt]?frac\{([1-9][0-9]?)\}\{([1-9][0-9]?)\})"
    rf"|({_PLAIN})(?:\s*/\s*({_PLAIN}))?(?!\s*\^))"
)
_UNDIVIDED = re.compile(rf"{_BEFORE}({_PLAIN})(?!\s*\^)")
"""The same for a text without fractions."""
_DIGIT = re.compile(r"[0-9]")
_SEPARATORS = str.maketrans("", "", ", \u00a0\u202f")
_DRESS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {ord("﹣"): "-", ord("‐"): "-", ord("‑"): "-"}
"""Full-width signs and the dashes that are written for a minus."""
_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
_VULGAR_PART = re.compile("([0-9]?)([" + "".join(_VULGAR) + "])")
_MAX_LENGTH = 400
"""Longer numbers are not read: nobody counts that far, and the arithmetic would cost."""

_MAX_NUMBERS = 2000
"""A text with so many numbers states none."""

# What makes one of several numbers the final one: "... total 45", "A total of 10", "the answer is 4".
_MARKED = re.compile(r"(?:\btotal(?:\s+of|\s+is)?|\banswer(?:\s+is)?|\\boxed\{)[ \t]*:?[ \t$*]*\Z", re.IGNORECASE)
_MARKED_AFTER = re.compile(r"\s*(?:in total|in all|altogether)\b", re.IGNORECASE)
_EQUALS = re.compile(r"=>?[ \t$*]*\Z")
_HEDGE = re.compile(r"[\s$*]*(?:or|to|[-–—~/]|或|至|到)(?:\s+maybe|\s+perhaps|\s+even)?[\s$*]*", re.IGNORECASE)
"""Between two numbers of which either may be meant."""
_WORD_HEDGE = re.compile(r"[0-9]\s*(?:or|to|-|–)\s*[a-z]|[a-z]\s+(?:or|to)\s+[0-9]", re.IGNORECASE)

_CHANGING = (
    *(
        "not",
        "n't",
        "n’t",
        " or ",
        " to ",
        "-",
        "−",
        "–",
        "minus",
        "negative",
        "负",
        "負",
        " and a ",
        " is ",
        " would ",
    ),
    *number_words.SCALES,
)
"""In a text without these, numbers mean what their digits say; most are such."""

# What stands right before a number, or right behind it, and changes its meaning.
_MINUS = re.compile(r"(?:\b(?:minus|negative)\s+|[负負])\Z", re.IGNORECASE)
_DASHES = "-−–"
_SET_APART = re.compile(rf"(?:\A|([=:]))[\s$*]*[{_DASHES}][ \t]*\Z")
"""A sign with a blank behind it; where the text begins and goes on after the number, it is the bullet of a list."""
_DASH_MINUS = re.compile(r"(?:\A|[\s=(:])–\Z")
_DENIED = re.compile(r"(?:\bnot|n['’]t)[\s$*]+\Z", re.IGNORECASE)
_DENIED_AFTER = re.compile(
    r"[\s$*]+(?:is|would be)\s+(?:wrong|incorrect|not (?:right|correct|the answer))", re.IGNORECASE
)
_TIMES = re.compile(rf"[ -]?({'|'.join(number_words.SCALES)})\b", re.IGNORECASE)
_AND_A_HALF = re.compile(r" and a (half|quarter)\b", re.IGNORECASE)


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

    Number words are read where there are no digits, or where they stand in a choice with them ("2 or three"). A
    number that is marked as the total or as the answer, or the last one after an equals sign, stands for the whole
    text. A denied one is not meant.
    """
    if text.isascii():
        if text.isdigit() and len(text) <= _MAX_LENGTH:
            return [int(text)]
    else:
        text = _VULGAR_PART.sub(_spelled_part, text).translate(_DRESS)
    if not _DIGIT.search(text):
        return list(dict.fromkeys(number_words.read(text[:_MAX_LENGTH])))
    pattern = _NUMBER if "/" in text or "frac" in text else _UNDIVIDED
    matches = list(islice(pattern.finditer(text), _MAX_NUMBERS))
    is_plain = not any(map(text.lower().__contains__, _CHANGING))
    if len(matches) < 2 and is_plain:
        values = map(_value, matches)
        return [value for value in values if value is not None]
    found: list[_Stated] = []
    for match in matches if len(matches) < _MAX_NUMBERS else []:
        value, end = _value(match), match.end()
        if value is None or (not is_plain and _is_denied(text, match)):
            continue
        if not is_plain:
            value, end = _scaled(_signed(value, text, match), text, end)
        found.append(_Stated(value, match.start(), end))
    is_hedged = not is_plain and _WORD_HEDGE.search(text[:_MAX_LENGTH])
    words = number_words.read(text[:_MAX_LENGTH]) if is_hedged else []
    if len(found) > 1:
        found = _meant(found, text)
    return list(dict.fromkeys([*(each.value for each in found), *words]))


@dataclass(slots=True)
class _Stated:
    """A number and where it stands in a text."""

    value: Number
    start: int
    end: int


def _meant(found: list[_Stated], text: str) -> list[_Stated]:
    """Return the numbers that stand for the text: those that are marked, with what is in a choice with them, or all."""
    is_last_equal = _EQUALS.search(text[max(0, found[-1].start - 8) : found[-1].start])
    chosen: list[_Stated] = []
    for index, each in enumerate(found):
        is_choice = index > 0 and _HEDGE.fullmatch(text, found[index - 1].end, each.start) is not None
        if _is_marked(text, each) or (is_choice and chosen and chosen[-1] is found[index - 1]):
            chosen.append(each)
    return chosen or ([found[-1]] if is_last_equal else found)


def _is_marked(text: str, each: _Stated) -> bool:
    before = text[max(0, each.start - 24) : each.start]
    return bool(_MARKED.search(before) or _MARKED_AFTER.match(text[each.end : each.end + 16]))


def _is_denied(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 8) : match.start()]
    return bool(_DENIED.search(before) or _DENIED_AFTER.match(text[match.end() : match.end() + 32]))


def _signed(value: Number, text: str, match: re.Match[str]) -> Number:
    """Return the number with a sign that stands apart from it: "minus 3", "x = - 3"."""
    before = text[max(0, match.start() - 12) : match.start()]
    if _MINUS.search(before) or _DASH_MINUS.search(before):
        return -value
    if before[-1:] in (" ", "\t", *_DASHES) and (apart := _SET_APART.search(before)):
        is_bullet = not apart[1] and (match.start() > 12 or re.search(r"\w", text[match.end() :][:_MAX_LENGTH]))
        return value if is_bullet else -value
    return value


def _scaled(value: Number, text: str, end: int) -> tuple[Number, int]:
    """Return the number with the word behind it that multiplies it, or the half that is added, and its end."""
    if added := _AND_A_HALF.match(text, end):
        value, end = value + Fraction(1, 2 if added[1].lower() == "half" else 4), added.end()
    if times := _TIMES.match(text, end):
        value, end = value * number_words.SCALES[times[1].lower()], times.end()
    return value, end


def _spelled_part(match: re.Match[str]) -> str:
    return f"{match[1]} {_VULGAR[match[2]]}" if match[1] else _VULGAR[match[2]]


def _value(match: re.Match[str]) -> Number | None:
    """Return the exact value of a match; None for a division by zero or an absurd length."""
    if match.end() - match.start() > _MAX_LENGTH:
        return None
    if match.re is _UNDIVIDED:
        return _plain_value(match[1])
    if match[3]:
        return _mixed_value(match[3], int(match[4] or match[6]), int(match[5] or match[7]))
    above, below = (match[1], match[2]) if match[1] else (match[8], match[9])
    if not below:
        return _plain_value(above)
    divisor = _plain_value(below)
    return Fraction(_plain_value(above)) / divisor if divisor else None


def _mixed_value(whole: str, above: int, below: int) -> Number:
    """Return the value of "2 1/2"."""
    value = abs(_plain_value(whole)) + Fraction(above, below)
    return -value if whole[0] in "-−" else value


def _plain_value(text: str) -> Number:
    plain = text.replace("−", "-").translate(_SEPARATORS)
    if plain.isdigit():
        return int(plain)
    return Fraction(plain.rstrip(".") if "e" not in plain.lower() else plain)
