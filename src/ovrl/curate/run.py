"""Curation as a job: samples and scored completions in; two stages, a row for every sample, a report out."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ovrl import codec, images, parquet, store
from ovrl.curate import rules, summary
from ovrl.curate.rules import Verdict
from ovrl.curate.settings import CurateSettings
from ovrl.curate.summary import CurationSummary, Row
from ovrl.errors import RecordError
from ovrl.records import Evidence, ImageRef, Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.store import Directory

log = logging.getLogger(__name__)

OUTPUTS = ("stage1.parquet", "stage2.parquet", "curation.jsonl", "summary.json", "summary.md")

_KEPT = ".kept.parquet.tmp"  # what the rule keeps, on its way into the two stages


def curate(
    samples: Iterable[Sample] | Callable[[], Iterable[Sample]],
    evidence: Iterable[Evidence],
    output: Directory,
    settings: CurateSettings,
    *,
    rejects: Rejects,
    seed: int,
) -> CurationSummary:
    """Write the files of `OUTPUTS` into the directory, finish it, and return what was found.

    Images stay on disk but for a few rows at a time.

    Args:
        samples: read once, so that no bad record is counted twice; or a function that gives them.
        evidence: scored completions, in any order; read once, before the samples.
        output: the directory; finished here.
        settings: rule and thresholds.
        rejects: takes kept samples whose image cannot be read.
        seed: of the choice of stage-1 rows that stage 2 repeats.
    """
    known, duplicate = _gather(evidence)
    rows: dict[str, Row] = {}
    first, second, kept = (output.path / name for name in (*OUTPUTS[:2], _KEPT))
    given = samples() if callable(samples) else samples
    parquet.write_samples(kept, _embedded(_judged(given, known, settings, rows), rows, rejects))
    unknown = sum(len(entries) for sample_id, entries in known.items() if sample_id not in rows)
    del known

    _write(first, _select(kept, rows, stage=1))
    for sample_id in _choose_replay(rows, settings.stage2_replay, seed):
        rows[sample_id] = summary.mark(rows[sample_id], replayed=True)
    replayed = (s for s in _select(kept, rows, stage=1) if rows[s.id].replayed)
    _write(second, itertools.chain(_select(kept, rows, stage=2), replayed))
    kept.unlink()

    result = summary.summarize(list(rows.values()), settings, seed=seed, unknown=unknown, duplicate=duplicate)
    lines = "".join(store.dumps(row.encode()) + "\n" for row in rows.values())
    store.write_atomic(output.path / "curation.jsonl", lines)
    store.write_json(output.path / "summary.json", result.encode())
    store.write_atomic(output.path / "summary.md", summary.to_markdown(result))
    _warn(result)
    output.finish(_counts(result) | {"rejected": rejects.count}, OUTPUTS)
    return result


def _gather(evidence: Iterable[Evidence]) -> tuple[dict[str, list[Evidence]], int]:
    """Return the evidence by sample id, and how many lines repeat a (sample, k)."""
    known: dict[str, dict[int, Evidence]] = {}
    duplicate = 0
    for entry in evidence:
        group = known.setdefault(entry.sample_id, {})
        duplicate += entry.k in group
        group.setdefault(entry.k, entry)
    return {sample_id: list(group.values()) for sample_id, group in known.items()}, duplicate


def _judged(
    samples: Iterable[Sample],
    known: Mapping[str, Sequence[Evidence]],
    settings: CurateSettings,
    rows: dict[str, Row],
) -> Iterator[Sample]:
    """Yield the samples that the rule keeps, and put the row of every sample into `rows`."""
    for sample in samples:
        statistics = rules.measure(known.get(sample.id, ()), sample.question, settings)
        verdict = rules.decide(statistics, settings)
        rows[sample.id] = Row(
            sample_id=sample.id,
            question=replace(sample.question, problem="", answer=(), meta={}),  # what the row needs of it
            statistics=statistics,
            verdict=verdict,
        )
        if verdict.keep:
            yield sample


def _embedded(samples: Iterable[Sample], rows: dict[str, Row], rejects: Rejects) -> Iterator[Sample]:
    """Yield the samples with their images read; one that cannot be read is dropped from `rows`."""
    for sample in samples:
        try:
            refs = tuple(ImageRef(data=images.read_bytes(ref), path=ref.path) for ref in sample.images)
        except RecordError as error:
            rejects.add(error, record_id=sample.id)
            rows[sample.id] = summary.mark(rows[sample.id], verdict=Verdict(False, "unreadable_image"))
            continue
        yield replace(sample, images=refs)


def _choose_replay(rows: Mapping[str, Row], share: float, seed: int) -> list[str]:
    """Return ids of stage-1 rows: those with the smallest hashes, whatever the order of the input."""
    kept = [row.sample_id for row in rows.values() if row.verdict.keep and row.stage == 1]
    kept.sort(key=lambda sample_id: derive_seed(seed, "replay", sample_id))
    return kept[: round(share * len(kept))]


def _select(kept: Path, rows: Mapping[str, Row], *, stage: int) -> Iterator[Sample]:
    for record in parquet.read_rows(kept):
        if rows[record["id"]].stage == stage:
            yield codec.decode_sample(record, kept.parent)


def _write(path: Path, samples: Iterable[Sample]) -> None:
    """Write the parquet file under its name only when it is whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    parquet.write_samples(temporary, samples)
    temporary.replace(path)


def _warn(result: CurationSummary) -> None:
    for stage, tally in result.stages.items():
        if tally.kept == 0:
            log.warning(
                "stage %s is empty: none of its %d samples was kept (%s)",
                stage,
                tally.samples,
                ", ".join(f"{reason} {count}" for reason, count in result.reasons.items()) or "no samples",
            )
    if result.unknown_evidence:
        log.warning(
            "%d scored lines belong to no input sample and were not used; are these the same samples?",
            result.unknown_evidence,
        )
    if result.duplicate_evidence:
        log.warning("%d scored lines repeat a sample_id and k; the first of each counts", result.duplicate_evidence)
    if result.few_completions > 0.1 * result.overall.samples:  # a few are the odd error, not a design
        log.warning("%d samples have fewer than 2k scores; their pass@k is noisy", result.few_completions)


def _counts(result: CurationSummary) -> dict[str, int]:
    """Return the counts for the manifest."""
    return {
        "samples": result.overall.samples,
        "kept": result.overall.kept,
        "stage1_rows": result.stages["1"].kept,
        "stage2_rows": result.stage2_rows,
        "replayed": result.replayed,
        "unknown_evidence": result.unknown_evidence,
        "duplicate_evidence": result.duplicate_evidence,
        **{f"reason_{name}": count for name, count in result.reasons.items()},
    }
