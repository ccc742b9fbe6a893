"""Say in figures and in words what a curation did: `summary.json` and `summary.md`."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ovrl.curate import estimators, rules
from ovrl.curate.rules import Statistics, Verdict
from ovrl.curate.settings import CurateSettings
from ovrl.records import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One input sample and what became of it."""

    sample_id: str
    question: Question
    statistics: Statistics
    verdict: Verdict
    replayed: bool = False
    """Whether stage 2 repeats it."""

    @property
    def stage(self) -> int:
        """Return the stage that the sample belongs to, kept or not: 1 answer-only, 2 chain of thought."""
        return 1 if self.question.prompt_type == "normal" else 2

    def encode(self) -> dict[str, Any]:
        """Return the curation row of the contract; the fields after `weight` are ours."""
        found, corrected = self.statistics, self.statistics.corrected()
        error = None if found.k is None else estimators.pass_at_k_error(found.n, found.correct, found.k)
        return {
            "schema": "ovrl.curation/1",
            "sample_id": self.sample_id,
            **asdict(found),
            "decision": "keep" if self.verdict.keep else "drop",
            "reason": self.verdict.reason,
            "stage": self.stage,
            "weight": 1.0 if self.verdict.keep else 0.0,
            "pass_at_k_error": error,
            "pass_at_1_corrected": corrected.pass_at_1,
            "gap_corrected": corrected.gap,
            "replayed": self.replayed,
            "source": self.question.source,
            "problem_type": self.question.problem_type,
            "answer_type": self.question.answer_type,
            "prompt_type": self.question.prompt_type,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many of a part of the samples there were, how many were kept, and how hard they are."""

    samples: int
    kept: int
    pass_at_1: float | None
    """Mean over the samples with evidence, before selection."""
    pass_at_k: float | None
    kept_pass_at_1: float | None
    """The same over the kept samples."""
    kept_pass_at_k: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChanceEffect:
    """What the correction for guessing changes in the rule `paper`, whichever rule was asked for."""

    guessable: int
    """Samples with a chance level above 0."""
    kept_without: int
    kept_with: int
    dropped: int
    """Kept only without the correction: the model does hardly better than a guess."""
    admitted: int
    """Kept only with it: an easy-looking mean that is partly luck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationSummary:
    """What `curate` gives back and writes as `summary.json`."""

    overall: Tally
    stages: Mapping[str, Tally]
    """Keys "1" and "2"."""
    sources: Mapping[str, Tally]
    problem_types: Mapping[str, Tally]
    decisions: Mapping[str, int]
    reasons: Mapping[str, int]
    replayed: int
    """Stage-1 rows that stage 2 repeats."""
    stage2_rows: int
    """Rows of stage2.parquet, repeated ones included."""
    chance: ChanceEffect
    correction_in_force: bool
    reduced_k: int
    """Samples with fewer scores than the k that was asked for; theirs is their n."""
    few_completions: int
    """Samples with evidence but n < 2k, where pass@k is noisy."""
    unknown_evidence: int
    """Scored lines whose sample is not among the input."""
    duplicate_evidence: int
    """Scored lines that repeat a (sample, k); the first one counts."""
    settings: Mapping[str, Any]
    seed: int

    def encode(self) -> dict[str, Any]:
        """Return the content of `summary.json`."""
        return {"schema": "ovrl.curation_summary/1", **asdict(self)}


def summarize(
    rows: Sequence[Row], settings: CurateSettings, *, seed: int, unknown: int, duplicate: int
) -> CurationSummary:
    """Return the summary of all rows.

    Args:
        rows: one for each input sample.
        settings: as they were in force.
        seed: of the choice of replayed rows.
        unknown: scored lines whose sample is not among the input.
        duplicate: scored lines that repeat another.
    """
    kept = [row for row in rows if row.verdict.keep]
    replayed = sum(row.replayed for row in rows)
    judged = [row.statistics for row in rows if row.statistics.k is not None]
    return CurationSummary(
        overall=_tally(rows),
        stages={str(stage): _tally([row for row in rows if row.stage == stage]) for stage in (1, 2)},
        sources=_by(rows, [row.question.source or "(none)" for row in rows]),
        problem_types=_by(rows, [row.question.problem_type for row in rows]),
        decisions={"keep": len(kept), "drop": len(rows) - len(kept)},
        reasons=dict(Counter(str(row.verdict.reason) for row in rows).most_common()),
        replayed=replayed,
        stage2_rows=sum(row.stage == 2 for row in kept) + replayed,
        chance=_chance_effect(rows, settings),
        correction_in_force=settings.rule == "default" and settings.correct_chance,
        reduced_k=sum(settings.k is not None and (s.k or 0) < settings.k for s in judged),
        few_completions=sum(s.n < 2 * (s.k or 0) for s in judged),
        unknown_evidence=unknown,
        duplicate_evidence=duplicate,
        settings=settings.model_dump(mode="json"),
        seed=seed,
    )


def _by(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Tally]:
    groups: dict[str, list[Row]] = {}
    for row, name in zip(rows, names, strict=True):
        groups.setdefault(name, []).append(row)
    return {name: _tally(groups[name]) for name in sorted(groups)}


def _tally(rows: Sequence[Row]) -> Tally:
    kept = [row for row in rows if row.verdict.keep]
    return Tally(
        samples=len(rows),
        kept=len(kept),
        pass_at_1=_mean(row.statistics.pass_at_1 for row in rows),
        pass_at_k=_mean(row.statistics.pass_at_k for row in rows),
        kept_pass_at_1=_mean(row.statistics.pass_at_1 for row in kept),
        kept_pass_at_k=_mean(row.statistics.pass_at_k for row in kept),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _chance_effect(rows: Sequence[Row], settings: CurateSettings) -> ChanceEffect:
    without = settings.model_copy(update={"rule": "paper"})
    corrected = settings.model_copy(update={"rule": "default", "correct_chance": True})
    before = [rules.decide(row.statistics, without).keep for row in rows]
    after = [rules.decide(row.statistics, corrected).keep for row in rows]
    return ChanceEffect(
        guessable=sum(row.statistics.chance > 0 for row in rows),
        kept_without=sum(before),
        kept_with=sum(after),
        dropped=sum(b and not a for b, a in zip(before, after, strict=True)),
        admitted=sum(a and not b for b, a in zip(before, after, strict=True)),
    )


def mark(row: Row, *, verdict: Verdict | None = None, replayed: bool = False) -> Row:
    """Return the row with another verdict, or marked as repeated in stage 2."""
    return replace(row, verdict=verdict or row.verdict, replayed=replayed)


_EXPLANATIONS = {
    "kept": "to be trained on",
    "all_correct": "every completion is right: nothing to learn",
    "all_wrong": "no completion is right: no signal yet",
    "gap_low": "pass@k is hardly above pass@1 (after the correction for guessing, where it is in force)",
    "outside_band": "the mean reward is outside the band",
    "too_many_errors": "too many completions could not be scored to judge the sample",
    "no_evidence": "no scored completion was given",
    "unreadable_image": "would be kept, but an image cannot be read",
}


def to_markdown(summary: CurationSummary) -> str:
    """Return the report for people, with the thresholds that were in force."""
    settings, chance = summary.settings, summary.chance
    correction = "on" if summary.correction_in_force else "off"
    thresholds = ", ".join(f"{name} {value:g}" for name, value in settings["pass_threshold"].items())
    k = settings["k"] or "half of the completions of a sample, at least 2"
    low, high = settings["band"]
    lines = [
        "# Curation",
        "",
        f"{summary.overall.kept} of {summary.overall.samples} samples kept. "
        f"Stage 1: {summary.stages['1'].kept} rows. Stage 2: {summary.stage2_rows} rows, "
        f"{summary.replayed} of them repeated from stage 1.",
        "",
        "## In force",
        "",
        f"- rule: {settings['rule']}; correction for guessing: {correction}",
        f"- k: {k}",
        f"- gap: pass@k - pass@1 >= {settings['min_gap']:g}",
        f"- band: {low:g} < mean accuracy < {high:g}",
        f"- a completion is correct from this accuracy on: {thresholds}",
        f"- dropped above this share of completions without a score: {settings['max_error_rate']:g}",
        "",
        "## Reasons",
        "",
        *_table(
            ("reason", "samples", "meaning"),
            [(name, str(count), _EXPLANATIONS.get(name, "")) for name, count in summary.reasons.items()],
        ),
        "",
        "## Before and after",
        "",
        "Mean over samples with evidence; not corrected for guessing.",
        "",
        *_tallies("stage", {"all": summary.overall, **summary.stages}),
        "",
        *_tallies("source", summary.sources),
        "",
        *_tallies("problem type", summary.problem_types),
        "",
        "## Guessing",
        "",
        f"{chance.guessable} samples can be guessed. Gap and band keep {chance.kept_without} samples without "
        f"the correction and {chance.kept_with} with it: {chance.dropped} fall out because the model does "
        f"hardly better than a guess, {chance.admitted} come in because part of their accuracy is luck.",
        *_remarks(summary),
    ]
    return "\n".join(lines) + "\n"


def _remarks(summary: CurationSummary) -> list[str]:
    remarks = {
        "scored lines belong to no input sample": summary.unknown_evidence,
        "scored lines repeat another one and were not counted": summary.duplicate_evidence,
        "samples have fewer scores than k; their own n was taken": summary.reduced_k,
        "samples have n < 2k, so their pass@k is noisy": summary.few_completions,
    }
    found = [f"- {count} {text}" for text, count in remarks.items() if count]
    return ["", "## Remarks", "", *found] if found else []


def _tallies(name: str, tallies: Mapping[str, Tally]) -> list[str]:
    header = (name, "samples", "kept", "pass@1", "pass@k", "pass@1 kept", "pass@k kept")
    return _table(
        header,
        [
            (
                key,
                str(tally.samples),
                str(tally.kept),
                *(
                    "" if value is None else f"{value:.3f}"
                    for value in (
                        tally.pass_at_1,
                        tally.pass_at_k,
                        tally.kept_pass_at_1,
                        tally.kept_pass_at_k,
                    )
                ),
            )
            for key, tally in tallies.items()
        ],
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]
