"""The options of a multiple-choice problem, as its text lists them: how many there are, and in another order."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ovrl.records import IMAGE_MARK, Question

# "A. red", "B) red", "C: red" open an option at the start of the text or after white space, "(D)" anywhere.
_MARKER = re.compile(r"\(([A-Z])\)|(?:^|(?<=\s))([A-Z])[.):]")
_LINE_START = re.compile(r"(?:\A|\n)[ \t]*\Z")
# "all of the above", "both A and B", "option C": true in one order only.
_REFERS = re.compile(
    r"(?i:\b(?:above|below|former|latter|both|neither|all of (?:them|these)|none of (?:them|these))\b)"
    r"|\b(?i:options?|choices?)\s+[A-Z]\b|\b[A-Z]\s*(?:,|&|/|\band\b|\bor\b|\bnor\b)\s*[A-Z]\b"
)
_SENTENCE_END = re.compile(r"[.?!]\s+\S")
_AROUND = r"[\s.,;:&*()\[\]]*"
_LETTERS = re.compile(rf"{_AROUND}(?:[A-Z]{_AROUND})+|{_AROUND}[a-z]{_AROUND}")


@dataclass(frozen=True, slots=True)
class Shuffled:
    """A question whose options stand in another order."""

    question: Question
    order: str
    """Which original option stands at A, at B, ...: "CAB" shows the third option first."""
    gold: str
    """The letter of the gold answer now; several in alphabetical order."""


def count_options(problem: str) -> int:
    """Return how many options A, B, C ... the text lists in order, or 0 when not even two are.

    "A" opens a list wherever it stands; the longest list counts, so that an "A. Smith" in the question does
    no harm.
    """
    return len(_listed(problem))


def gold_letters(answer: Sequence[str], options: int) -> list[str] | None:
    """Return the letters of each gold answer ("B", "AC"), or None when one of them is no option's letter."""
    found: list[str] = []
    for text in answer:
        if not _LETTERS.fullmatch(text):
            return None
        letters = sorted(char.upper() for char in text if char.isalpha())
        if len(set(letters)) < len(letters) or letters[-1] >= chr(ord("A") + options):
            return None
        found.append("".join(letters))
    return found


def shuffle(question: Question, seed: int) -> Shuffled | None:
    """Return the question with its options permuted by `seed` and the gold letter moved along.

    None when that cannot be done safely: the options or the gold letters cannot be read, an option is a
    picture, or it speaks of other options.
    """
    spans = _texts(question.problem)
    golds = gold_letters(question.answer, len(spans)) if spans else None
    if not golds:
        return None
    order = list(range(len(spans)))
    random.Random(seed).shuffle(order)
    texts = [question.problem[start:end] for start, end in spans]
    pieces: list[str] = []
    done = 0
    for (start, end), original in zip(spans, order, strict=True):
        pieces += [question.problem[done:start], texts[original]]
        done = end
    moved = {chr(ord("A") + original): chr(ord("A") + place) for place, original in enumerate(order)}
    return Shuffled(
        question=replace(
            question,
            problem="".join(pieces) + question.problem[done:],
            answer=tuple(_renamed(text, moved) for text in question.answer),
        ),
        order="".join(chr(ord("A") + original) for original in order),
        gold="".join(sorted({moved[letter] for gold in golds for letter in gold})),
    )


def _renamed(gold: str, moved: dict[str, str]) -> str:
    """Return the gold text with its letters renamed, in alphabetical order, and all other signs in place."""
    letters = iter(sorted(moved[char.upper()] for char in gold if char.isalpha()))
    return "".join(_like(char, next(letters)) if char.isalpha() else char for char in gold)


def _like(old: str, new: str) -> str:
    return new.lower() if old.islower() else new


def _listed(problem: str) -> list[re.Match[str]]:
    """Return the marks of the longest list A, B, C ..., or nothing when it has not even two."""
    longest: list[re.Match[str]] = []
    current: list[re.Match[str]] = []
    for match in _MARKER.finditer(problem):
        index = ord(match[1] or match[2]) - ord("A")
        if index == 0:
            current = [match]
        elif index == len(current):
            current = [*current, match]
        longest = max(longest, current, key=len)
    return longest if len(longest) >= 2 else []


def _texts(problem: str) -> list[tuple[int, int]]:
    """Return where each option's text starts and ends, or nothing when that cannot be told for sure."""
    marks = _listed(problem)
    if not marks:
        return []
    line_end = problem.find("\n", marks[-1].end())
    ends = [mark.start() for mark in marks[1:]] + [len(problem) if line_end < 0 else line_end]
    spans = [_trimmed(problem, mark.end(), end) for mark, end in zip(marks, ends, strict=True)]
    texts = [problem[start:end] for start, end in spans]
    if any(not text or "\n" in text or IMAGE_MARK in text or _REFERS.search(text) for text in texts):
        return []
    lines = all(_LINE_START.search(problem, 0, mark.start()) for mark in marks)
    if not lines and any(_SENTENCE_END.search(text) for text in texts):
        return []  # in "A. red B. blue. Think first!" nothing tells where the last option ends
    return spans


def _trimmed(problem: str, start: int, end: int) -> tuple[int, int]:
    text = problem[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
