"""The options of a multiple-choice problem, as its text lists them: how many there are, and in another order."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ovrl.records import IMAGE_MARK, Question

# "A. red", "B) red", "C: red" open an option at the start of the text or after white space, "(D)" anywhere.
_MARKER = re.compile(r"\(([A-Z])\)|(?:^|(?<=\s))([A-Z])[.):]")
_LINE_START = re.compile(r"(?:\A|\n)[ \t]*\Z")
# "all of the above", "option C": true in one order only. A letter that names another option is found by `_names`.
_REFERS = re.compile(
    r"(?i:\b(?:above|below|former|latter|both|neither|all of (?:them|these)|none of (?:them|these))\b)"
    r"|\b(?i:options?|choices?)\s+[A-Z]\b"
)
_ALONE = re.compile(r"(?<![^\W_])[A-Z](?![^\W_])")
_ARTICLE = re.compile(r"A\s+(?!(?:is|are|was|were|and|or|nor|only|alone|but|plus|to)\b)[a-z]")
_INSTRUCTS = re.compile(
    r"(?i)\b(?:answer (?:with|by|in|using|directly|only|the|this|from)|your answer|please|respond|reply|choose|select"
    r"|pick|letter|explain|justify|think|reason|output|give|options?|choices?)\b"
)
_SENTENCE_END = re.compile(r"[.?!]\s+\S")
_BEFORE_INLINE = re.compile(r"(?:\A|[?:.!\n])[ \t]*\Z")
_JOINED = re.compile(r"(?i)(?:[,;?]|\b(?:or|and|nor|vs)\b)\.?\Z")
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

    "A" opens a list wherever it stands. A list at line starts that nothing follows counts, and otherwise the longest,
    so that neither "(A) or (B)?" nor "A. Smith" in the question does harm.
    """
    return len(_listed(_lists(problem), problem))


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

    None when that cannot be done for certain: the options or the gold letters cannot be read, the question may
    list something, too, nothing tells where the last option ends, an option is a picture, or it speaks of others.
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


def _lists(problem: str) -> list[list[re.Match[str]]]:
    """Return the marks of each list A, B, C ... that has at least two."""
    found: list[list[re.Match[str]]] = []
    for match in _MARKER.finditer(problem):
        index = _place(match)
        if index == 0:
            found.append([match])
        elif found and index == len(found[-1]):
            found[-1].append(match)
    return [marks for marks in found if len(marks) >= 2]


def _place(mark: re.Match[str]) -> int:
    return ord(mark[1] or mark[2]) - ord("A")


def _listed(lists: list[list[re.Match[str]]], problem: str) -> list[re.Match[str]]:
    """Return the marks of the options, or nothing when there are no lists."""
    if _is_last_alone(lists, problem):
        return lists[-1]
    return max(lists, key=len, default=[])


def _is_last_alone(lists: list[list[re.Match[str]]], problem: str) -> bool:
    """Whether the last list, and no other, stands at line starts."""
    return [_at_line_starts(marks, problem) for marks in lists] == [False] * (len(lists) - 1) + [True]


def _at_line_starts(marks: list[re.Match[str]], problem: str) -> bool:
    return all(_LINE_START.search(problem, 0, mark.start()) for mark in marks)


def _texts(problem: str) -> list[tuple[int, int]]:
    """Return where each option's text starts and ends, or nothing when that cannot be told for sure."""
    lists = _lists(problem)
    marks = _listed(lists, problem)
    if not marks or (len(lists) > 1 and not _is_last_alone(lists, problem)):
        return []
    line_end = problem.find("\n", marks[-1].end())
    end = len(problem) if line_end < 0 else line_end
    if len(list(_MARKER.finditer(problem, marks[0].start(), end))) != len(marks):
        return []  # "B. vitamin C. or so": which mark opens an option?
    ends = [mark.start() for mark in marks[1:]] + [end]
    spans = [_trimmed(problem, mark.end(), end) for mark, end in zip(marks, ends, strict=True)]
    texts = [problem[start:end] for start, end in spans]
    if any(not text or "\n" in text or IMAGE_MARK in text or _names(text, len(texts)) for text in texts):
        return []
    if _INSTRUCTS.search(texts[-1]):
        return []  # in "C. green Please answer with the letter" the instruction is no part of the option
    if not _at_line_starts(marks, problem) and not _is_plain(problem[: marks[0].start()], texts):
        return []
    return spans


def _names(text: str, options: int) -> bool:
    """Whether an option speaks of others: in words, or by a letter that stands alone ("same as A")."""
    letters = {match.start() for match in _ALONE.finditer(text) if ord(match[0]) - ord("A") < options}
    return bool(_REFERS.search(text) or letters - ({0} if _ARTICLE.match(text) else set()))


def _is_plain(before: str, texts: list[str]) -> bool:
    """Whether options within a line are surely options, of which the last ends with the line.

    Not so in "is (A) left of (B)?", in "(A) red or (B) blue", in "A. red B. blue. Think first!", nor where the last
    one has more words than any other, since an instruction may follow it.
    """
    if not _BEFORE_INLINE.search(before) or len(texts[-1].split()) > max(len(text.split()) for text in texts[:-1]):
        return False
    return all(re.search(r"\w", text) and not _SENTENCE_END.search(text) and not _JOINED.search(text) for text in texts)


def _trimmed(problem: str, start: int, end: int) -> tuple[int, int]:
    text = problem[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
