"""Decide whether a sample is worth training on: statistics of its completions, and rules over them. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ovrl.curate import estimators
from ovrl.curate.settings import CurateSettings
from ovrl.records import Evidence, Question

Reason = Literal[
    "kept",
    "all_correct",
    "all_wrong",
    "gap_low",
    "outside_band",
    "too_many_errors",
    "no_evidence",
    "unreadable_image",
]

_ROUNDING = 1e-9  # 0.6 as a mean of floats may be a hair above or below 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the completions of one sample say about it."""

    n: int
    """Completions with a score. Errors and timeouts are not among them: they say nothing of the model."""
    correct: int
    """How many reach the pass threshold of their answer type."""
    pass_at_1: float | None
    """None, like all estimates below, when n = 0."""
    pass_at_k: float | None
    k: int | None
    gap: float | None
    """pass_at_k - pass_at_1."""
    mean_reward: float | None
    """Mean accuracy: the verifiable part, without bonuses for format or length, which say nothing of
    difficulty. The original's curation never saw a bonus either."""
    std_reward: float | None
    """Population standard deviation of the accuracy, as in a group of GRPO."""
    chance: float
    truncated_rate: float
    """Over all completions, scored or not."""
    error_rate: float

    def corrected(self) -> "Statistics":
        """Return the estimates with guessing taken out.

        pass@1 and the mean become `(p - chance) / (1 - chance)`; pass@k and gap follow from the count
        n * pass@1 that this leaves. The unbiased `1 - (1 - pass@k) / (1 - chance)^k` is of no use here: a
        model that guesses and hits 4 of 16 would be told 0.62 for pass@8.
        """
        if self.pass_at_1 is None or self.mean_reward is None or self.k is None or self.chance == 0.0:
            return self
        known = estimators.correct_for_chance(self.pass_at_1, self.chance)
        within_k = estimators.pass_at_k(self.n, self.n * known, self.k)
        return replace(
            self,
            pass_at_1=known,
            pass_at_k=within_k,
            gap=within_k - known,
            mean_reward=estimators.correct_for_chance(self.mean_reward, self.chance),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sample is kept, and why."""

    keep: bool
    reason: Reason


def measure(evidence: Sequence[Evidence], question: Question, settings: CurateSettings) -> Statistics:
    """Return the statistics of one sample.

    Args:
        evidence: its scored completions, in any order.
        question: tells the answer type, and how often a guess would be right.
        settings: pass thresholds and k.
    """
    values = [entry.accuracy for entry in evidence if entry.accuracy is not None]
    n, total = len(values), len(evidence)
    threshold = settings.pass_threshold.of(question.answer_type) - _ROUNDING
    correct = sum(value >= threshold for value in values)
    k = choose_k(n, total, settings.k)
    pass_at_1 = correct / n if n else None
    pass_at_k = estimators.pass_at_k(n, correct, k) if k is not None else None
    mean = math.fsum(values) / n if n else None
    return Statistics(
        n=n,
        correct=correct,
        pass_at_1=pass_at_1,
        pass_at_k=pass_at_k,
        k=k,
        gap=pass_at_k - pass_at_1 if pass_at_k is not None and pass_at_1 is not None else None,
        mean_reward=mean,
        std_reward=math.sqrt(math.fsum((v - mean) ** 2 for v in values) / n) if mean is not None else None,
        chance=estimators.chance(question),
        truncated_rate=sum(e.finish_reason == "length" for e in evidence) / total if total else 0.0,
        error_rate=(total - n) / total if total else 0.0,
    )


def choose_k(n: int, total: int, asked: int | None) -> int | None:
    """Return the k for a sample with n scores out of `total` completions; None when there is no score.

    By default half of `total` and not of n, so that an error here and there does not make the samples of
    a run incomparable.
    """
    if n == 0:
        return None
    return min(n, asked if asked is not None else max(2, total // 2))


def decide(statistics: Statistics, settings: CurateSettings) -> Verdict:
    """Return the verdict of the rule in `settings`."""
    if statistics.n == 0 and statistics.error_rate == 0.0:
        return Verdict(False, "no_evidence")
    if statistics.n == 0 or statistics.error_rate > settings.max_error_rate:
        return Verdict(False, "too_many_errors")
    if settings.rule == "gap":
        return gap(statistics, settings)
    if settings.rule == "band":
        return band(statistics, settings)
    corrected = settings.rule == "default" and settings.correct_chance
    return paper(statistics.corrected() if corrected else statistics, settings)


def gap(statistics: Statistics, settings: CurateSettings) -> Verdict:
    """Keep where the model succeeds in k attempts clearly more often than in one."""
    extreme = _extreme(statistics)
    if extreme is not None:
        return Verdict(False, extreme)
    assert statistics.gap is not None
    low = statistics.gap < settings.min_gap - _ROUNDING
    return Verdict(False, "gap_low") if low else Verdict(True, "kept")


def band(statistics: Statistics, settings: CurateSettings) -> Verdict:
    """Keep where the mean is strictly inside the window: the original's rule, which knows no threshold.

    So a box that always overlaps a little is kept, though no completion passes.
    """
    assert statistics.mean_reward is not None
    low, high = settings.band
    if low + _ROUNDING < statistics.mean_reward < high - _ROUNDING:
        return Verdict(True, "kept")
    return Verdict(False, _extreme(statistics) or "outside_band")


def paper(statistics: Statistics, settings: CurateSettings) -> Verdict:
    """Keep what both `gap` and `band` keep; the reason is that of the first that does not."""
    verdict = gap(statistics, settings)
    return band(statistics, settings) if verdict.keep else verdict


def _extreme(statistics: Statistics) -> Literal["all_correct", "all_wrong"] | None:
    if statistics.correct == statistics.n:
        return "all_correct"
    return "all_wrong" if statistics.correct == 0 else None
