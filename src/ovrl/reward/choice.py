"""Score multiple-choice replies: an option letter must be named, and must be the right one."""

import re

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))
_HTML_TAG = re.compile(r"</?[A-Za-z]{1,6}\s*/?>")
_COMMAND = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf|mathit|left|right)\b")
# Markup and quotes around a letter carry no meaning: **B**, $B$, `B`, “B”, {B}, - B.
_MARKUP = str.maketrans(dict.fromkeys('*`$"“”‘’{}', " "))

_BARE = re.compile(r"[\s.()\[\]:'-]*([A-Za-z])[\s.()\[\]:']*")
# "(B) 12 cm", "B. cat", "B、cat", "B 38°": a letter, then something that ends it.
_LEADING = re.compile(
    r"[\s.'-]*(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\s*(?:[).:、]|\n)|([A-Z])(?=\s*[^\sA-Za-z'’,/&|]))"
)
_NAMED = re.compile(
    r"(?:\b(?i:answer|option|choice)(?i:\s+is)?|选|答案(?:是|为)?)\s*+:?\s*+[(\[]?([A-Z])(?![A-Za-z'’])"
)
_ALONE = re.compile(r"(?<![A-Za-z0-9'’])([A-Z])(?![A-Za-z0-9'’])")
_NEGATED = re.compile(r"(?i:\bnot|\bn't|\bneither)\s+(?i:option\s+)?[(\[]?\s*\Z")
_ARTICLE = re.compile(r"\s+[a-z]{2,}")
_SEPARATORS = re.compile(r"[\s,;/&+|、()\[\].]+")
_MAX_LISTED = 100
"""A longer text is no list of letters."""


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 for the right letter or set of letters, 0 for others; `ambiguous` when several are named.

    `ov15` takes the first character that is left after stripping white space, dots and round brackets.
    """
    answer = final_answer(completion, mode)
    if mode == "ov15":
        if not answer or not question.answer:
            return missed("no_answer", answer)
        first = answer.strip().strip(".()")[:1].upper()
        return graded(first in {gold.upper() for gold in question.answer}, first)
    golds = usable_golds(question)
    if not golds:
        return unscored("invalid_gold")
    if answer is None or not answer.strip():
        return missed("no_answer", answer)
    text = _tidy(answer)
    letters = _letters(text)
    for gold in map(_tidy, golds):
        wanted = _letters(gold)
        if (wanted and wanted == letters) or (not wanted and gold.casefold() == text.casefold()):
            return graded(1.0, "".join(sorted(letters)) or text)
    if not letters:
        return missed("parse_error", text)
    if len(letters) > 1 and all(len(_letters(_tidy(gold))) < 2 for gold in golds):
        return missed("ambiguous", text)
    return graded(0.0, "".join(sorted(letters)))


def _tidy(text: str) -> str:
    """Return the text without markup, invisible characters and full-width forms."""
    if text.isascii():
        if text.isalnum():
            return text
    else:
        text = text.translate(_INVISIBLE).translate(_FULL_WIDTH)
    text = _HTML_TAG.sub(" ", text) if "<" in text else text
    text = _COMMAND.sub(" ", text) if "\\" in text else text
    return text.translate(_MARKUP).strip()


def _letters(text: str) -> frozenset[str]:
    """Return the option letters that a tidy text names, in upper case; empty when it names none."""
    if bare := _BARE.fullmatch(text):
        return frozenset(bare[1].upper())
    if listed := _listed(text):
        return listed
    if leading := _LEADING.match(text):
        letter = next(group for group in leading.groups() if group).upper()
        return frozenset(letter) | _listed(text[leading.end() :])
    if named := _NAMED.findall(text):
        return frozenset(named[-1])
    return frozenset(_standing_alone(text.splitlines()[0] if text else ""))


def _listed(text: str) -> frozenset[str]:
    """Return the letters of a text that is nothing but letters ("A, c", "B and D", "ACD"), else nothing."""
    if len(text) > _MAX_LISTED:
        return frozenset()
    words = [word for word in _SEPARATORS.split(text) if word and word.lower() not in {"and", "or"}]
    return frozenset("".join(words).upper()) if all(map(_is_letters, words)) else frozenset()


def _is_letters(word: str) -> bool:
    """Tell a letter, or letters in order as in "ABD", from a word."""
    if not word.isascii() or not word.isalpha():
        return False
    return len(word) == 1 or (word.isupper() and list(word) == sorted(set(word)) and max(word) <= "J")


def _standing_alone(line: str) -> list[str]:
    """Return the capital letters that stand alone, without negated ones, articles and pronouns."""
    letters: list[str] = []
    for match in _ALONE.finditer(line):
        before, after = line[max(0, match.start() - 16) : match.start()], line[match.end() : match.end() + 8]
        is_word = match[1] in "AI" and _ARTICLE.match(after) and not re.match(r"\s+(?:and|or)\b", after)
        if not is_word and not _NEGATED.search(before):
            letters.append(match[1])
    return letters
