"""What curation found of one sample: the line of `curation.jsonl`."""

import functools
from dataclasses import dataclass, field
from typing import Any

import orjson

from ovrl.curate import estimators, rules
from ovrl.curate.evidence import Letters
from ovrl.curate.rules import Counts, Reason, Statistics, Verdict
from ovrl.curate.settings import CurateSettings


@dataclass(frozen=True, slots=True)
class Judged:
    """Statistics with what follows from them; shared by all samples that have the same counts."""

    statistics: Statistics
    verdict: Verdict
    weight: float
    """How likely the sample is to be taken, relative to others."""
    fields: bytes
    """Its part of a row: JSON without the braces."""


class Judge:
    """Applies the rules. Most samples share their counts with others, so each case is judged once."""

    def __init__(self, settings: CurateSettings) -> None:
        """Take the rules from the settings."""
        self._settings = settings
        self._cases: dict[tuple[Counts, float], Judged] = {}

    def __call__(self, counts: Counts, chance: float) -> Judged:
        """Return what is made of these counts."""
        key = (counts, chance)
        if key not in self._cases:
            statistics = rules.measure(counts, chance, self._settings)
            self._cases[key] = Judged(
                statistics,
                rules.decide(statistics, self._settings),
                rules.weigh(statistics, self._settings),
                orjson.dumps(_fields(statistics))[1:-1],
            )
        return self._cases[key]


def _fields(statistics: Statistics) -> dict[str, Any]:
    counts, corrected = statistics.counts, statistics.corrected()
    k = statistics.k
    return {
        "n": counts.n,
        "correct": counts.correct,
        "pass_at_1": statistics.pass_at_1,
        "pass_at_k": statistics.pass_at_k,
        "k": k,
        "gap": statistics.gap,
        "mean_reward": counts.mean,
        "std_reward": counts.std,
        "chance": statistics.chance,
        "truncated_rate": counts.truncated / counts.total if counts.total else 0.0,
        "error_rate": counts.errors / counts.total if counts.total else 0.0,
        "pass_at_k_error": None if k is None else estimators.pass_at_k_error(counts.n, counts.correct, k),
        "pass_at_1_corrected": corrected.pass_at_1,
        "gap_corrected": corrected.gap,
        "chance_p": statistics.chance_p_value(),
        "total": counts.total,
        "truncated": counts.truncated,
        "unanswered": counts.unanswered,
        "errors": counts.errors,
    }


@functools.cache
def _letter_p_value(letters: tuple[tuple[int, int], ...]) -> float | None:
    return estimators.letter_p_value(letters)


@dataclass(slots=True, kw_only=True)
class Row:
    """One input sample and what became of it."""

    sample_id: str
    source: str | None
    problem_type: str
    answer_type: str
    prompt_type: str
    judged: Judged
    letters: Letters = field(default_factory=dict[str, tuple[int, int]])
    """Right and judged completions by the gold letter that was shown; only where options were shuffled."""
    overruled: Reason | None = None
    """Why a sample that passes the rule is not kept all the same."""
    replayed: bool = False
    """Whether stage 2 repeats it."""

    @property
    def stage(self) -> int:
        """Return the stage that the sample belongs to, kept or not: 1 answer-only, 2 chain of thought."""
        return 1 if self.prompt_type == "normal" else 2

    @property
    def statistics(self) -> Statistics:
        """Return the estimates, not corrected for guessing."""
        return self.judged.statistics

    @property
    def keep(self) -> bool:
        """Return whether the sample is in the output."""
        return self.judged.verdict.keep and self.overruled is None

    @property
    def reason(self) -> Reason:
        """Return why it is kept or dropped."""
        return self.overruled if self.overruled and self.judged.verdict.keep else self.judged.verdict.reason

    @property
    def letter_p_value(self) -> float | None:
        """Return how likely the accuracies by gold letter are when the letter is irrelevant; see `estimators`."""
        return _letter_p_value(tuple(self.letters.values())) if self.letters else None

    def line(self) -> bytes:
        """Return the curation row of the contract, with columns of ours, as a line of JSON."""
        keep = self.keep
        head = {"schema": "ovrl.curation/1", "sample_id": self.sample_id}
        rest = {
            "decision": "keep" if keep else "drop",
            "reason": self.reason,
            "stage": self.stage,
            "weight": self.judged.weight if keep else 0.0,
            "letters": self.letters or None,
            "letter_p": self.letter_p_value,
            "replayed": self.replayed,
            "source": self.source,
            "problem_type": self.problem_type,
            "answer_type": self.answer_type,
            "prompt_type": self.prompt_type,
        }
        return b"%s,%s,%s\n" % (orjson.dumps(head)[:-1], self.judged.fields, orjson.dumps(rest)[1:])
