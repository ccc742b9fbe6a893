"""Curation as a job: samples and scored completions in; two stages, a row for every sample, a report out.

samples -> judged one by one -> candidates, on disk with their images
                                     -> chosen by size and mixture -> stage1/, stage2/
"""

import contextlib
import gc
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ovrl import images, parquet, store
from ovrl.curate import guessing, rules, shards
from ovrl.curate.card import to_card
from ovrl.curate.evidence import Evidence, ids_without_sample
from ovrl.curate.mixture import Mixture
from ovrl.curate.report.examples import Examples
from ovrl.curate.report.markdown import to_markdown
from ovrl.curate.report.page import to_html
from ovrl.curate.row import Judge, Row
from ovrl.curate.selection import Candidate, Selection, select
from ovrl.curate.settings import CurateSettings
from ovrl.curate.summary import CurationSummary, summarize
from ovrl.errors import RecordError
from ovrl.records import ImageRef, Sample
from ovrl.rejects import Rejects
from ovrl.store import Directory

log = logging.getLogger(__name__)

ROWS = "curation.jsonl"
OUTPUTS = ("stage1", "stage2", ROWS, "summary.json", "report.md", "report.html", "README.md")

_CANDIDATES = ".candidates.parquet.tmp"  # what passes the rule, on its way into the two stages


def curate(
    samples: Iterable[Sample] | Callable[[], Iterable[Sample]],
    evidence: Evidence,
    output: Directory,
    settings: CurateSettings,
    *,
    mixture: Mixture | None = None,
    rejects: Rejects,
    seed: int,
) -> CurationSummary:
    """Write the files of `OUTPUTS` into the directory, finish it, and return what was found.

    Images stay on disk but for a few rows at a time. The files are the same for any order of the scores;
    another order of the samples changes the order of the rows, and nothing else.

    Args:
        samples: read once, so that no bad record is counted twice; or a function that gives them.
        evidence: what is known of each sample.
        output: the directory; finished here.
        settings: rule, thresholds, size.
        mixture: target composition of the stages; None keeps that of what passes the rule.
        rejects: takes samples whose image cannot be read, and scores without a sample.
        seed: of every draw.
    """
    with _without_collector():
        return _curate(samples() if callable(samples) else samples, evidence, output, settings, mixture, rejects, seed)


@contextlib.contextmanager
def _without_collector() -> Generator[None]:
    """Pause the search for cycles: among the rows it finds none, and takes a sixth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _curate(
    samples: Iterable[Sample],
    evidence: Evidence,
    output: Directory,
    settings: CurateSettings,
    mixture: Mixture | None,
    rejects: Rejects,
    seed: int,
) -> CurationSummary:
    rows: dict[str, Row] = {}
    candidates = output.path / _CANDIDATES
    pool = _Pool(evidence, settings, rejects, rows)
    parquet.write_samples(candidates, pool.passing(samples))
    pool.settle()
    unknown = _reject_unknown(evidence, rows, rejects)
    chosen = _choose(rows, settings, mixture, seed)
    _write_stages(output.path, candidates, rows)
    candidates.unlink()

    result = summarize(
        list(rows.values()),
        settings,
        seed=seed,
        targets=chosen.targets,
        unknown=unknown,
        duplicate=evidence.duplicates,
    )
    store.write_json(output.path / "summary.json", result.encode())
    store.write_atomic(output.path / "report.md", to_markdown(result))
    store.write_atomic(output.path / "README.md", to_card(result))
    page = to_html(result, list(rows.values()), pool.examples.chosen(rows))
    store.write_atomic(output.path / "report.html", page)
    # Last, since `--update` reads it: a run that is stopped before has changed no evidence.
    store.write_atomic(output.path / ROWS, b"".join(row.line() for row in rows.values()))
    _warn(result, rows.values())
    output.finish(_counts(result) | rejects.counts(), OUTPUTS)
    return result


class _Pool:
    """Judges samples as they stream by, and lets through what may be kept."""

    def __init__(self, evidence: Evidence, settings: CurateSettings, rejects: Rejects, rows: dict[str, Row]) -> None:
        self._evidence = evidence
        self._settings = settings
        self._rejects = rejects
        self._rows = rows
        self._judge = Judge(settings)
        self._answers = guessing.CountAnswers()
        self._counting: list[tuple[Row, int]] = []
        self.examples = Examples()

    def passing(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Yield the samples that pass, or may pass once all are known, with their images read."""
        for sample in samples:
            row = self._row(sample)
            self._rows[sample.id] = row
            value = guessing.small_count(sample.question)
            if guessing.is_count(sample.question):
                self._answers.add(row.source, value)
            if value is not None:
                self._counting.append((row, value))
            verdict = row.judged.verdict
            read = sample
            if verdict.keep or (value is not None and verdict.reason not in rules.WITHOUT_CHANCE):
                read = self._read(sample, row)
                if row.overruled is None:
                    yield read
            self.examples.consider(read, row.reason)

    def _row(self, sample: Sample) -> Row:
        question = sample.question
        threshold = self._settings.pass_threshold.of(question.answer_type)
        return Row(
            sample_id=sample.id,
            source=question.source,
            problem_type=question.problem_type,
            answer_type=question.answer_type,
            prompt_type=question.prompt_type,
            judged=self._judge(self._evidence.of(sample.id, threshold), guessing.chance(question)),
            letters=self._evidence.letters_of(sample.id, threshold),
        )

    def _read(self, sample: Sample, row: Row) -> Sample:
        """Return the sample with its images in memory; when one cannot be read, the row says so."""
        if all(ref.data is not None for ref in sample.images):
            return sample
        try:
            refs = tuple(ImageRef(data=images.read_bytes(ref), path=ref.path) for ref in sample.images)
        except RecordError as error:
            self._rejects.add(error, record_id=sample.id)
            row.overruled = "unreadable_image"
            return sample
        return replace(sample, images=refs)

    def settle(self) -> None:
        """Judge counting samples again, now that all answers of their sources are known."""
        for row, value in self._counting:
            row.judged = self._judge(row.statistics.counts, self._answers.chance(row.source, value))


def _reject_unknown(evidence: Evidence, rows: Mapping[str, Row], rejects: Rejects) -> int:
    """Write down scores without a sample, one line for each id, and return how many scores these are."""
    unknown = 0
    for sample_id in ids_without_sample(evidence, rows):
        count = evidence.lines_of(sample_id)
        unknown += count
        rejects.add(
            RecordError("sample_id", f"{count} scores of {sample_id!r}, which is none of the samples"),
            record_id=sample_id,
        )
    return unknown


def _choose(rows: Mapping[str, Row], settings: CurateSettings, mixture: Mixture | None, seed: int) -> Selection:
    """Overrule what passes the rule and is not taken, and mark what is repeated."""
    by = mixture.by if mixture else settings.selection.by
    passing = [row for row in rows.values() if row.keep]
    chosen = select(
        [
            Candidate(row.sample_id, row.stage, (getattr(row, by) or "(none)") if by else "", row.judged.weight)
            for row in passing
        ],
        size=settings.selection.size,
        mixture=mixture,
        replay=settings.stage2_replay,
        seed=seed,
    )
    for row in passing:
        if row.sample_id not in chosen.taken:
            row.overruled = "not_in_mixture" if row.sample_id in chosen.outside else "not_sampled"
    for sample_id in chosen.replayed:
        rows[sample_id].replayed = True
    return chosen


def _write_stages(folder: Path, candidates: Path, rows: Mapping[str, Row]) -> None:
    first, second = ({row.sample_id for row in rows.values() if row.keep and row.stage == stage} for stage in (1, 2))
    replayed = {row.sample_id for row in rows.values() if row.replayed}
    shards.write_stage(folder / "stage1", candidates, [first])
    shards.write_stage(folder / "stage2", candidates, [second, replayed])


def _warn(result: CurationSummary, rows: Iterable[Row]) -> None:
    for stage, tally in result.stages.items():
        if tally.kept == 0:
            reasons = Counter(row.reason for row in rows if str(row.stage) == stage)
            log.warning(
                "stage %s is empty: none of its %d samples was kept (%s)",
                stage,
                tally.samples,
                ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "no samples",
            )
    found = result.scores
    if found.unknown:
        log.warning(
            "%d scored lines belong to no input sample and were not used; are these the same samples?", found.unknown
        )
    if found.duplicate:
        log.warning("%d scored lines repeat a completion; the lowest score of each counts", found.duplicate)
    if len(found.sizes) > 1:
        log.warning(
            "samples have different numbers of completions, from %s to %s; each is judged by its own",
            *_ends(list(found.sizes)),
        )
    if found.few_completions > 0.1 * result.overall.samples:  # a few are the odd error, not a design
        log.warning("%d samples have fewer than 2k completions (n < 2k); their pass@k is noisy", found.few_completions)
    for target in result.targets:
        if target.taken < target.wanted:
            log.warning(
                "stage %d wants %d of %s%s, and there are %d",
                target.stage,
                target.wanted,
                target.group,
                " to repeat" if target.replay else "",
                target.available,
            )


def _ends(sizes: Sequence[str]) -> tuple[str, str]:
    return sizes[0], sizes[-1]


def _counts(result: CurationSummary) -> dict[str, int]:
    """Return the counts for the manifest."""
    return {
        "samples": result.overall.samples,
        "kept": result.overall.kept,
        "stage1_rows": result.stages["1"].kept,
        "stage2_rows": result.stage2_rows,
        "replayed": result.replayed,
        "unknown_evidence": result.scores.unknown,
        "duplicate_evidence": result.scores.duplicate,
        **{f"reason_{name}": count for name, count in result.reasons.items()},
    }
