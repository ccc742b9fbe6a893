"""Read an answer as a person would: the option, the number, the text that it states.

Ours before upstream's, whose readers take the first capital letter for an option, or draw one.
"""

import re
from collections.abc import Mapping
from fractions import Fraction

from ovrl.records import Question
from ovrl.reward import choice
from ovrl.reward import number as numbers

_TAGS = re.compile(r"</?answer>")
_STATED = re.compile(r"\banswer\s*(?:is\b\s*:?|:)\s*", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{(.*)\}", re.DOTALL)
_PAIRS = ("**", "*", "`", "$", '"', "'", "“”", "‘’")
_NO_PLAIN_NUMBER = re.compile(r"[\^_√π*]|\\(?![dt]?frac|text|mathrm|,| |%)")
_MAX_CONTAINED = 400
"""Longer texts weigh several options; none of them is taken for the answer."""


def is_number(text: str) -> bool:
    """Return whether a gold is a number as a program writes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def letter(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the option that a text names, or whose words it gives; None when that is not clear.

    Args:
        text: an answer, or all that was said.
        options: their texts by letter; an unknown text is empty.
    """
    text = _TAGS.sub("", text).strip()
    for plain in (_plain(text), _plain(stated(text))):
        if len(plain) == 1 and plain.upper() in options:
            return plain.upper()
        if found := _with_words(plain, options):
            return found
    for one in options:
        if choice.score(Question(answer=(one,)), f"<answer>{text}</answer>", "strict").reward == 1.0:
            return one
    return _containing(text, options)


def _with_words(plain: str, options: Mapping[str, str]) -> str | None:
    same = [one for one, words in options.items() if plain and _plain(words) == plain]
    return same[0] if len(same) == 1 else None


def _containing(text: str, options: Mapping[str, str]) -> str | None:
    """Return the only option whose words stand in the text; the words of a longer option are not another's."""
    if len(text) > _MAX_CONTAINED:
        return None
    left, found = text, list[str]()
    for one, words in sorted(options.items(), key=lambda item: -len(item[1])):
        pattern = rf"(?<!\w){re.escape(words.strip().rstrip('.'))}(?!\w)"
        if words.strip(" .") and re.search(pattern, left, re.IGNORECASE):
            found.append(one)
            left = re.sub(pattern, " ", left, flags=re.IGNORECASE)
    return found[0] if len(found) == 1 else None


def _plain(text: str) -> str:
    """Return the text without case, spaces and what may stand around it."""
    if boxed := _BOXED.search(text):
        text = boxed[1]
    return "".join(text.split()).casefold().strip("*`$\"'“”‘’.。,;:()[]{}")


def stated(text: str) -> str:
    """Return what a text says is the answer: without "The answer is", emphasis and the full stop."""
    text = _TAGS.sub("", text)
    *_, last = _STATED.split(text)
    if last != text:
        last = last.strip().partition("\n")[0]
    if boxed := _BOXED.search(last):
        last = boxed[1]
    last = _bare(last)
    return _bare(last[:-1]) if last.endswith((".", "。")) and not last.endswith("..") else last


def _bare(text: str) -> str:
    """Return the text without the marks that stand on both sides of it."""
    text = text.strip()
    for pair in _PAIRS:
        left, right = (pair[0], pair[1]) if pair in ("“”", "‘’") else (pair, pair)
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
            text = text[len(left) : -len(right)].strip()
    return text


def number(text: str) -> str | None:
    """Return the only number that a text states, as decimal digits; None for several, none, or an expression."""
    text = stated(text)
    if _NO_PLAIN_NUMBER.search(text):
        return None
    found = numbers.candidates(text)
    return spelled(found[0]) if len(found) == 1 else None


def spelled(value: int | Fraction) -> str:
    """Return a number as `float` reads it, a whole one without a decimal point."""
    return str(int(value)) if value == int(value) else repr(float(value))
