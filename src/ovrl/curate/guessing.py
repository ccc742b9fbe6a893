"""How often a blind guess is right: from the options of a question, or from the answers of its data set."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

from ovrl.choices import count_options, gold_letters
from ovrl.records import Question

DEFAULT_OPTIONS = 4
"""Options of a multiple-choice question whose problem text lists none that we can count."""

LARGEST_COUNT = 20
"""Counting answers up to this are guessable: a model that knows the data set guesses small numbers."""

FEWEST_COUNTS = 30
"""Counting samples that a source must have before its answers say how often each is right."""

_NATURAL = re.compile(r"\s*(\d{1,3})\s*")


def chance(question: Question) -> float:
    """Return how often a guess is right: 1/options for multiple choice, 1/2 for boolean, otherwise 0.

    Several gold letters, any of which counts, raise the chance; where a set of letters is asked for ("AC"),
    all non-empty sets are guessed alike.
    """
    if question.answer_type == "boolean":
        return 0.5
    if question.answer_type != "multiple-choice":
        return 0.0
    options = count_options(question.problem) or DEFAULT_OPTIONS
    golds = set(gold_letters(question.answer, options) or ("",))
    if any(len(gold) > 1 for gold in golds):
        return min(1.0, len(golds) / (2**options - 1))
    return min(1.0, len(golds) / options)


def is_count(question: Question) -> bool:
    """Return whether the question asks for a count, whatever its answer is."""
    return question.problem_type == "counting" and question.answer_type == "number"


def small_count(question: Question) -> int | None:
    """Return the gold answer of a counting question when it is small enough to be guessed, else None."""
    if not is_count(question) or len(question.answer) != 1:
        return None
    match = _NATURAL.fullmatch(question.answer[0])
    return int(match[1]) if match and int(match[1]) <= LARGEST_COUNT else None


def count_chance(value: int, found: Mapping[int | None, int]) -> float:
    """Return how often a guess drawn from a source's other answers hits this one.

    The share of `value` among the other counting samples of the source. A guesser who knows the data set,
    and nothing of the picture, does about as well. 0 where the source is too small to tell.

    Args:
        value: the gold answer.
        found: small gold answer -> counting samples of the source that have it, this sample among them; under
            None those with any other answer.
    """
    others = sum(found.values()) - 1
    return max(0, found.get(value, 0) - 1) / others if others + 1 >= FEWEST_COUNTS else 0.0


class CountAnswers:
    """The counting answers of each source, collected while samples are read."""

    def __init__(self) -> None:
        """Start with none."""
        self._found: dict[str | None, Counter[int | None]] = defaultdict(Counter)

    def add(self, source: str | None, value: int | None) -> None:
        """Note one counting sample's gold answer; None for one that is no small count."""
        self._found[source][value] += 1

    def chance(self, source: str | None, value: int) -> float:
        """Return `count_chance` among the samples that were added."""
        return count_chance(value, self._found[source])
