"""Whether the verdict on a sample is settled before all of its completions are sampled. Pure.

What the completions that are left may come to is predicted from those that are there: the number of right ones is
beta-binomial, with Jeffreys' prior Beta(1/2, 1/2) on the sample's pass rate. The verdict is settled when

    it would be the same, keep or drop, for outcomes that together have nearly all of the probability, and
    it is the same for what is there now: `ovrl curate` will see no more than that.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ovrl.curate import guessing, rules
from ovrl.curate.rules import Counts
from ovrl.curate.settings import CurateSettings
from ovrl.records import Question

CONFIDENCE = 0.995
"""Least probability that full sampling would end in the same verdict. Pass rates are not spread as the prior says. With
this much to spare, 99 in 100 verdicts are the same even where all samples have the pass rate of a rule's bound."""

_COMMONEST_COUNT = 0.5
"""More often than this no count is the right one in a data set; how often it is, is known at the end only."""

_PRIOR = 0.5

_SPREAD = 3.0
"""Standard deviations within which the sum of graded accuracies is expected."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one completion came to."""

    accuracy: float | None
    """None when it could not be scored."""
    is_unanswered: bool = False
    """Whether it was cut off before it gave an answer."""


class EarlyVerdict:
    """Tells for each sample when more completions would not change what becomes of it."""

    def __init__(self, settings: CurateSettings) -> None:
        """Take the rules from the settings of `ovrl curate`."""
        self._settings = settings
        self._keeps = lru_cache(maxsize=1 << 16)(self._decide)

    def settled(self, question: Question, replies: Sequence[Reply], left: int) -> bool:
        """Return whether the verdict is settled.

        Args:
            question: of the sample, which tells how often a guess is right, and the pass threshold.
            replies: what is known.
            left: completions that full sampling would add.
        """
        if not left:
            return True
        if not replies:
            return False
        threshold = self._settings.pass_threshold.of(question.answer_type)
        seen = _Seen(replies, threshold)
        verdicts = {self._verdict(seen, left, chance) for chance in _chances(question)}
        return len(verdicts) == 1 and None not in verdicts

    def _verdict(self, seen: "_Seen", left: int, chance: float) -> bool | None:
        """Return whether the sample will be kept, or None while that is open."""
        now = self._keeps(seen.counts(), chance)
        same = sum(
            mass for ends, mass in seen.futures(left) if all(self._keeps(counts, chance) == now for counts in ends)
        )
        return now if same >= CONFIDENCE else None

    def _decide(self, counts: Counts, chance: float) -> bool:
        return rules.decide(rules.measure(counts, chance, self._settings), self._settings).keep


class _Seen:
    """The completions of a sample, and what others like them would be."""

    def __init__(self, replies: Sequence[Reply], threshold: float) -> None:
        judged = [one.accuracy for one in replies if one.accuracy is not None and not one.is_unanswered]
        right = [value for value in judged if value >= threshold]
        wrong = [value for value in judged if value < threshold]
        self._right, self._wrong, self._sum = len(right), len(wrong), sum(judged)
        self._unanswered = sum(one.is_unanswered and one.accuracy is not None for one in replies)
        self._errors = sum(one.accuracy is None for one in replies)
        # A rule that knows right and wrong alone gives 1 and 0; graded ones go on as they were, or by the middle.
        self._accuracy_right = sum(right) / len(right) if right else (1.0 + threshold) / 2
        self._accuracy_wrong = sum(wrong) / len(wrong) if wrong else (threshold / 2 if threshold < 1.0 else 0.0)
        self._variance_right, self._variance_wrong = (1.0 - threshold) ** 2 / 12, (threshold % 1.0) ** 2 / 12
        """Of accuracies spread evenly on one side of the threshold; 0 where a rule knows right and wrong alone."""

    def counts(self, right: int = 0, wrong: int = 0, unjudged: int = 0, *, spread: float = 0.0) -> Counts:
        """Return the counts after so many more.

        Args:
            right: more right ones.
            wrong: more wrong ones.
            unjudged: more that say nothing; all are of the kind that was seen more often.
            spread: standard deviations by which the sum of the new accuracies is above what is expected.
        """
        n = self._right + self._wrong + right + wrong
        total = self._sum + right * self._accuracy_right + wrong * self._accuracy_wrong
        total += spread * math.sqrt(right * self._variance_right + wrong * self._variance_wrong)
        cut = self._unanswered + (unjudged if self._unanswered > self._errors else 0)
        errors = self._errors + (unjudged if self._unanswered <= self._errors else 0)
        mean = round(total / n, 9) if n else None
        return Counts(n + cut + errors, n, self._right + right, mean, None, cut, cut, errors)

    def futures(self, left: int) -> Iterator[tuple[tuple[Counts, Counts], float]]:
        """Yield what `left` more may come to, with the least and the largest sum of accuracies, and its probability."""
        judged, unjudged = self._right + self._wrong, self._unanswered + self._errors
        for lost in range(left + 1 if unjudged else 1):
            share = _beta_binomial(lost, left, unjudged, judged + _PRIOR) if unjudged else 1.0
            for right in range(left - lost + 1):
                mass = _beta_binomial(right, left - lost, self._right + _PRIOR, self._wrong + _PRIOR)
                wrong = left - lost - right
                low, high = (self.counts(right, wrong, lost, spread=side) for side in (-_SPREAD, _SPREAD))
                yield (low, high), share * mass


@lru_cache(maxsize=1 << 14)
def _beta_binomial(hits: int, count: int, alpha: float, beta: float) -> float:
    """Return C(count, hits) B(hits + alpha, count - hits + beta) / B(alpha, beta)."""

    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    return math.comb(count, hits) * math.exp(log_beta(hits + alpha, count - hits + beta) - log_beta(alpha, beta))


def _chances(question: Question) -> tuple[float, ...]:
    """Return how often a guess is right; the ends of the range where that depends on the other samples."""
    if guessing.small_count(question) is not None:
        return 0.0, _COMMONEST_COUNT
    return (guessing.chance(question),)
