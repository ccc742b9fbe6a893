"""Decide whether a sample is worth training on: statistics of its completions, and rules over them. Pure.

The order is fixed, however the rules are named; the first that does not hold gives the reason:

    evidence    no_evidence, too_many_errors, truncated
    extremes    all_wrong, all_correct             (not for `band` alone, which looks at the mean)
    guessing    guessing                           (`default`)
    pass-count  outside_pass_count
    gap         gap_low
    band        outside_band
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from ovrl.curate import estimators
from ovrl.curate.settings import CurateSettings

Reason = Literal[
    "kept",
    "no_evidence",
    "too_many_errors",
    "truncated",
    "all_wrong",
    "all_correct",
    "guessing",
    "outside_pass_count",
    "gap_low",
    "outside_band",
    "unreadable_image",
    "not_in_mixture",
    "not_sampled",
]

EXPLANATIONS: dict[Reason, str] = {
    "kept": "to be trained on",
    "no_evidence": "no scored completion was given",
    "too_many_errors": "too many completions could not be scored to judge the sample",
    "truncated": "too many completions were cut off before they gave an answer",
    "all_wrong": "no completion is right: no signal yet",
    "all_correct": "every completion is right: nothing to learn",
    "guessing": "the model does not do better than a guess for certain",
    "outside_pass_count": "the number of right completions is outside the window",
    "gap_low": "pass@k is hardly above pass@1 (after the correction for guessing, where it is in force)",
    "outside_band": "the mean reward is outside the band",
    "unreadable_image": "passes the rule, but an image cannot be read",
    "not_in_mixture": "passes the rule, but the mixture does not name its group",
    "not_sampled": "passes the rule, but there are enough others",
}

WITHOUT_CHANCE: frozenset[Reason] = frozenset(
    {"no_evidence", "too_many_errors", "truncated", "all_wrong", "all_correct"}
)
"""Reasons that are the same whatever the chance level is."""

_ROUNDING = 1e-9  # 0.6 as a mean of floats may be a hair above or below 0.6


class Counts(NamedTuple):
    """What the completions of one sample came to."""

    total: int
    """All completions."""
    n: int
    """Those that were judged: neither errors nor cut off before an answer, which both say nothing."""
    correct: int
    """Judged ones that reach the pass threshold."""
    mean: float | None
    """Mean accuracy of the judged: the verifiable part, without bonuses for format or length, which say
    nothing of difficulty. The original's curation never saw a bonus either. None when n = 0."""
    std: float | None
    """Population standard deviation of the accuracy, as in a group of GRPO."""
    truncated: int
    """Cut off by the length limit, with or without an answer."""
    unanswered: int
    """Cut off before an answer."""
    errors: int
    """Without a score."""


NOTHING = Counts(0, 0, 0, None, None, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the completions of one sample say about it."""

    counts: Counts
    chance: float
    """How often a blind guess is right."""
    k: int | None
    """None, like all estimates below, when nothing was judged."""
    pass_at_1: float | None
    pass_at_k: float | None
    gap: float | None
    """pass_at_k - pass_at_1."""
    mean: float | None

    def corrected(self) -> "Statistics":
        """Return the estimates with guessing taken out.

        pass@1 and the mean become `(p - chance) / (1 - chance)`; pass@k and gap follow from the count
        n * pass@1 that this leaves. The unbiased `1 - (1 - pass@k) / (1 - chance)^k` is of no use here: a
        model that guesses and hits 4 of 16 would be told 0.62 for pass@8.
        """
        if self.pass_at_1 is None or self.mean is None or self.k is None or self.chance == 0.0:
            return self
        known = estimators.correct_for_chance(self.pass_at_1, self.chance)
        within_k = estimators.pass_at_k(self.counts.n, self.counts.n * known, self.k)
        return replace(
            self,
            pass_at_1=known,
            pass_at_k=within_k,
            gap=within_k - known,
            mean=estimators.correct_for_chance(self.mean, self.chance),
        )

    def chance_p_value(self) -> float | None:
        """Return how often mere guessing does at least as well; None when it cannot, or nothing was judged."""
        if self.chance <= 0.0 or not self.counts.n:
            return None
        return estimators.chance_p_value(self.counts.n, self.counts.correct, self.chance)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sample is kept, and why."""

    keep: bool
    reason: Reason


def measure(counts: Counts, chance: float, settings: CurateSettings) -> Statistics:
    """Return the estimates for one sample.

    Args:
        counts: what its completions came to.
        chance: how often a guess is right.
        settings: tells k.
    """
    n, correct = counts.n, counts.correct
    k = choose_k(n, counts.total, settings.k)
    pass_at_1 = correct / n if n else None
    pass_at_k = None if k is None else estimators.pass_at_k(n, correct, k)
    return Statistics(
        counts=counts,
        chance=chance,
        k=k,
        pass_at_1=pass_at_1,
        pass_at_k=pass_at_k,
        gap=None if pass_at_k is None or pass_at_1 is None else pass_at_k - pass_at_1,
        mean=counts.mean,
    )


def choose_k(n: int, total: int, asked: int | None) -> int | None:
    """Return the k for a sample with n judged of `total` completions; None when nothing was judged.

    By default half of `total` and not of n, so that an error here and there does not make the samples of
    a run incomparable.
    """
    if n == 0:
        return None
    return min(n, asked if asked is not None else max(2, total // 2))


def decide(statistics: Statistics, settings: CurateSettings) -> Verdict:
    """Return the verdict of the rules in `settings`, in the order at the top of this module."""
    reason = _evidence(statistics.counts, settings) or _extreme(statistics, settings)
    if reason is None and settings.corrects:
        reason = _guessing(statistics, settings)
        if settings.chance != "bound":
            statistics = statistics.corrected()
    reason = reason or _outside(statistics, settings)
    return Verdict(reason is None, reason or "kept")


def weigh(statistics: Statistics, settings: CurateSettings) -> float:
    """Return how likely the sample is to be taken, relative to others; above 0."""
    if settings.corrects and settings.chance != "bound":
        statistics = statistics.corrected()
    p, gap = statistics.pass_at_1 or 0.0, statistics.gap or 0.0
    values = {"uniform": 1.0, "gap": gap, "variance": p * (1.0 - p)}
    return max(1e-6, values[settings.selection.weight])


def _evidence(counts: Counts, settings: CurateSettings) -> Reason | None:
    if counts.total == 0:
        return "no_evidence"
    if counts.errors > settings.max_error_rate * counts.total + _ROUNDING:
        return "too_many_errors"
    if counts.unanswered > settings.max_truncated_rate * counts.total + _ROUNDING:
        return "truncated"
    if counts.n == 0:
        return "too_many_errors" if counts.errors >= counts.unanswered else "truncated"
    return None


def _extreme(statistics: Statistics, settings: CurateSettings) -> Reason | None:
    """Return what leaves no gap at all.

    `band` alone is the original's rule, which knows no threshold: a box that always overlaps a little is
    kept, though no completion passes.
    """
    counts = statistics.counts
    assert counts.mean is not None
    low, high = settings.pass_count
    if settings.rules == frozenset({"band"}) and _inside(counts.mean, settings.band):
        return None
    if settings.rules == frozenset({"pass-count"}) and low <= counts.correct <= high:
        return None
    if counts.correct == 0:
        return "all_wrong"
    return "all_correct" if counts.correct == counts.n else None


def _guessing(statistics: Statistics, settings: CurateSettings) -> Reason | None:
    p_value = statistics.chance_p_value()
    if p_value is None or settings.chance == "subtract":
        return None
    return "guessing" if p_value > 1.0 - settings.confidence + _ROUNDING else None


def _outside(statistics: Statistics, settings: CurateSettings) -> Reason | None:
    low, high = settings.pass_count
    if "pass-count" in settings.rules and not low <= statistics.counts.correct <= high:
        return "outside_pass_count"
    assert statistics.gap is not None
    assert statistics.mean is not None
    if "gap" in settings.rules and statistics.gap < settings.min_gap - _ROUNDING:
        return "gap_low"
    if "band" in settings.rules and not _inside(statistics.mean, settings.band):
        return "outside_band"
    return None


def _inside(mean: float, band: tuple[float, float]) -> bool:
    return band[0] + _ROUNDING < mean < band[1] - _ROUNDING
