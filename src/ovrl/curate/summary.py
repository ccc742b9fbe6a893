"""What a curation did, in figures: the content of `summary.json`, of the reports and of the card."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ovrl.curate import estimators
from ovrl.curate.row import Judge, Row
from ovrl.curate.rules import Counts
from ovrl.curate.selection import Target
from ovrl.curate.settings import CurateSettings

BINS = 20
"""Of the histograms of pass@1."""

SUSPICIOUS = 0.05
"""Below this p-value a sample's accuracy is said to depend on the letter of the gold answer."""


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
    before: Sequence[int]
    """[BINS] samples by pass@1; the last bin holds 1."""
    after: Sequence[int]
    """[BINS] the same over the kept samples."""


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
    fixed_order: int
    """Multiple-choice samples whose options all completions saw in one order: a model that prefers a letter
    looks there as if it knew, or as if it did not."""
    undecidable: int
    """Guessable samples with so few completions that no number of right ones would have been kept."""
    letter_tested: int
    """Samples asked with shuffled options, neither all right nor all wrong, whose right letter was not always one."""
    letter_dependent: int
    """Of these, those whose accuracy depends on the letter of the gold answer with p < `SUSPICIOUS`. Each is tested
    by itself, so chance alone flags about this share of those that are tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresFound:
    """What is to be said of the scores."""

    unknown: int
    """Scored lines whose sample is not among the input."""
    duplicate: int
    """Scored lines that repeat a completion; the lowest score counts."""
    reduced_k: int
    """Samples with fewer judged completions than the k that was asked for; theirs is their n."""
    few_completions: int
    """Samples with fewer than 2k completions, where pass@k is noisy; or fewer than 1.5k that were judged, since
    an error here and there does not matter."""
    sizes: Mapping[str, int]
    """Completions of a sample -> how many samples have so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationSummary:
    """What `curate` gives back and writes as `summary.json`."""

    overall: Tally
    stages: Mapping[str, Tally]
    """Keys "1" and "2"."""
    sources: Mapping[str, Tally]
    problem_types: Mapping[str, Tally]
    answer_types: Mapping[str, Tally]
    decisions: Mapping[str, int]
    reasons: Mapping[str, int]
    replayed: int
    """Stage-1 rows that stage 2 repeats."""
    stage2_rows: int
    """Rows of stage 2, repeated ones included."""
    targets: Sequence[Target]
    """What the mixture wanted of each group, and what there was."""
    chance: ChanceEffect
    correction_in_force: bool
    scores: ScoresFound
    curve: Mapping[str, Sequence[float]]
    """Mean pass@k of all and of kept samples for k = 1, 2, ...; not corrected for guessing."""
    settings: Mapping[str, Any]
    seed: int

    def encode(self) -> dict[str, Any]:
        """Return the content of `summary.json`."""
        return {"schema": "ovrl.curation_summary/2", **asdict(self)}


def summarize(
    rows: Sequence[Row],
    settings: CurateSettings,
    *,
    seed: int,
    targets: Sequence[Target] = (),
    unknown: int = 0,
    duplicate: int = 0,
) -> CurationSummary:
    """Return the summary of all rows.

    Args:
        rows: one for each input sample.
        settings: as they were in force.
        seed: of every draw.
        targets: what a mixture wanted.
        unknown: scored lines whose sample is not among the input.
        duplicate: scored lines that repeat another.
    """
    cases = Counter(map(_Case.of, rows))
    replayed = sum(row.replayed for row in rows)
    reasons = Counter(str(row.reason) for row in rows)
    kept = sum(row.keep for row in rows)
    return CurationSummary(
        overall=_tally(cases),
        stages={
            "1": _tally(_only(cases, lambda case: case.stage == 1)),
            "2": _tally(_only(cases, lambda case: case.stage == 2)),
        },
        sources=_by(cases, lambda case: case.source or "(none)"),
        problem_types=_by(cases, lambda case: case.problem_type),
        answer_types=_by(cases, lambda case: case.answer_type),
        decisions={"keep": kept, "drop": len(rows) - kept},
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        replayed=replayed,
        stage2_rows=sum(count for case, count in cases.items() if case.stage == 2 and case.keep) + replayed,
        targets=tuple(targets),
        chance=_chance_effect(rows, settings),
        correction_in_force=settings.corrects,
        scores=_scores_found(cases, settings, unknown, duplicate),
        curve={"all": _curve(cases), "kept": _curve(_only(cases, lambda case: case.keep))},
        settings=settings.model_dump(mode="json"),
        seed=seed,
    )


class _Case(NamedTuple):
    """What the figures need of a row. Rows of one case are counted together: there are few cases."""

    stage: int
    source: str | None
    problem_type: str
    answer_type: str
    keep: bool
    counts: Counts
    k: int | None
    pass_at_1: float | None
    pass_at_k: float | None

    @staticmethod
    def of(row: Row) -> "_Case":
        found = row.statistics
        return _Case(
            row.stage,
            row.source,
            row.problem_type,
            row.answer_type,
            row.keep,
            found.counts,
            found.k,
            found.pass_at_1,
            found.pass_at_k,
        )


_Cases = Mapping[_Case, int]


def _only(cases: _Cases, wanted: Callable[[_Case], bool]) -> _Cases:
    return {case: count for case, count in cases.items() if wanted(case)}


def _by(cases: _Cases, name: Callable[[_Case], str]) -> dict[str, Tally]:
    groups: dict[str, dict[_Case, int]] = defaultdict(dict)
    for case, count in cases.items():
        groups[name(case)][case] = count
    return {group: _tally(groups[group]) for group in sorted(groups)}


def _tally(cases: _Cases) -> Tally:
    judged = _only(cases, lambda case: case.k is not None)
    kept = _only(judged, lambda case: case.keep)
    return Tally(
        samples=sum(cases.values()),
        kept=sum(kept.values()),
        pass_at_1=_mean((case.pass_at_1, count) for case, count in judged.items()),
        pass_at_k=_mean((case.pass_at_k, count) for case, count in judged.items()),
        kept_pass_at_1=_mean((case.pass_at_1, count) for case, count in kept.items()),
        kept_pass_at_k=_mean((case.pass_at_k, count) for case, count in kept.items()),
        before=_histogram(judged),
        after=_histogram(kept),
    )


def _mean(values: Iterable[tuple[float | None, int]]) -> float | None:
    """Return the mean of (value, how often); exactly summed, so that the order does not matter."""
    known = [(value, count) for value, count in values if value is not None]
    total = sum(count for _, count in known)
    return math.fsum(value * count for value, count in known) / total if total else None


def _histogram(cases: _Cases) -> list[int]:
    bins = [0] * BINS
    for case, count in cases.items():
        bins[min(BINS - 1, int((case.pass_at_1 or 0.0) * BINS + 1e-9))] += count
    return bins


def _curve(cases: _Cases) -> list[float]:
    """Return the mean pass@k for k from 1 to the n that at least nine tenths of the samples have."""
    counts = Counter[tuple[int, int]]()
    for case, number in cases.items():
        counts[case.counts.n, case.counts.correct] += number if case.counts.n else 0
    total = counts.total()
    curve: list[float] = []
    for k in range(1, max((n for n, _ in counts), default=0) + 1):
        able = [(n, c, number) for (n, c), number in counts.items() if n >= k]
        members = sum(number for _, _, number in able)
        if members < 0.9 * total:
            break
        curve.append(math.fsum(estimators.pass_at_k(n, c, k) * number for n, c, number in able) / members)
    return curve


def _chance_effect(rows: Sequence[Row], settings: CurateSettings) -> ChanceEffect:
    how = "both" if settings.chance == "off" else settings.chance
    without = Judge(settings.model_copy(update={"rule": "paper"}))
    corrected = Judge(settings.model_copy(update={"rule": "default", "chance": how}))
    cases = Counter((row.statistics.counts, row.statistics.chance) for row in rows)
    effect = Counter[tuple[bool, bool]]()
    for (counts, chance), number in cases.items():
        effect[without(counts, chance).verdict.keep, corrected(counts, chance).verdict.keep] += number
    choices = [row for row in rows if row.answer_type == "multiple-choice" and row.statistics.k is not None]
    varied = [row for row in choices if 0 < row.statistics.counts.correct < row.statistics.counts.n]
    p_values = [value for row in varied if (value := row.letter_p_value) is not None]
    return ChanceEffect(
        guessable=sum(number for (_, chance), number in cases.items() if chance > 0),
        kept_without=effect[True, True] + effect[True, False],
        kept_with=effect[True, True] + effect[False, True],
        dropped=effect[True, False],
        admitted=effect[False, True],
        fixed_order=sum(not row.letters for row in choices),
        undecidable=_undecidable(cases, corrected),
        letter_tested=len(p_values),
        letter_dependent=sum(value < SUSPICIOUS for value in p_values),
    )


def _undecidable(cases: Mapping[tuple[Counts, float], int], judge: Judge) -> int:
    """Return how many guessable samples would be dropped whatever their completions said."""
    found = Counter[tuple[int, float]]()
    for (counts, chance), number in cases.items():
        if chance > 0 and counts.n:
            found[counts.n, chance] += number
    return sum(
        number
        for (n, chance), number in found.items()
        if not any(judge(Counts(n, n, c, c / n, None, 0, 0, 0), chance).verdict.keep for c in range(1, n))
    )


def _scores_found(cases: _Cases, settings: CurateSettings, unknown: int, duplicate: int) -> ScoresFound:
    sizes = Counter[int]()
    reduced = few = 0
    for case, count in cases.items():
        sizes[case.counts.total] += count if case.counts.total else 0
        if case.k is not None:
            reduced += count if settings.k is not None and case.k < settings.k else 0
            few += count if case.counts.total < 2 * case.k or case.counts.n < 1.5 * case.k else 0
    return ScoresFound(
        unknown=unknown,
        duplicate=duplicate,
        reduced_k=reduced,
        few_completions=few,
        sizes={str(size): sizes[size] for size in sorted(sizes) if sizes[size]},
    )
