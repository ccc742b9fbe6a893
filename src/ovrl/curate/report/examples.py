"""Samples for the page: a few of each reason, chosen by a hash of their ids, so that the page cannot flatter."""

import heapq
import logging
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovrl import images
from ovrl.curate.row import Row
from ovrl.errors import RecordError
from ovrl.records import IMAGE_MARK, Sample

log = logging.getLogger(__name__)

KEPT, DROPPED = 12, 3
"""Kept samples that are shown, and dropped ones of each reason."""

_HELD = 2 * KEPT  # of each reason, since the final verdict is known later
_LONGEST = 600  # characters of a problem
_THUMBNAIL = 224 * 224


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One sample as the page shows it."""

    sample_id: str
    kept: bool
    reason: str
    figures: str
    category: str
    problem: str
    gold: str
    pictures: tuple[str, ...]
    """Data URIs."""


class Examples:
    """Holds the first few samples of each reason, in the order of a hash, while samples stream by."""

    def __init__(self) -> None:
        """Start with none."""
        self._held: dict[str, list[tuple[int, str, Sample]]] = defaultdict(list)

    def consider(self, sample: Sample, reason: str) -> None:
        """Hold the sample if it comes early enough in the order of its reason."""
        heap = self._held[reason]
        entry = (-zlib.crc32(sample.id.encode()), sample.id, sample)
        if len(heap) < _HELD:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)

    def chosen(self, rows: Mapping[str, Row]) -> list[Example]:
        """Return the examples, kept ones first, by their final reasons."""
        found: dict[str, list[tuple[int, str, Sample]]] = defaultdict(list)
        for entry in (entry for heap in self._held.values() for entry in heap):
            found[rows[entry[1]].reason].append(entry)
        examples: list[Example] = []
        for reason in sorted(found, key=lambda name: (name != "kept", name)):
            shown = sorted(found[reason], key=lambda entry: (-entry[0], entry[1]))
            wanted = KEPT if reason == "kept" else DROPPED
            examples += [_example(sample, rows[sample.id]) for _, _, sample in shown[:wanted]]
        return examples


def _example(sample: Sample, row: Row) -> Example:
    question = sample.question
    problem = question.problem.replace(IMAGE_MARK, "").strip()
    return Example(
        sample_id=sample.id,
        kept=row.keep,
        reason=row.reason,
        figures=_figures(row),
        category=" · ".join(text for text in (question.source, question.answer_type) if text),
        problem=problem if len(problem) <= _LONGEST else f"{problem[:_LONGEST]} …",
        gold=" | ".join(question.answer)[:_LONGEST],
        pictures=_thumbnails(sample.images),
    )


def _figures(row: Row) -> str:
    """Return the numbers behind the decision."""
    statistics, counts = row.statistics, row.statistics.counts
    if statistics.k is None or statistics.pass_at_k is None:
        return f"{counts.total} completions, none judged"
    text = f"{counts.correct} of {counts.n} right, pass@{statistics.k} {statistics.pass_at_k:.2f}"
    if counts.mean is not None and counts.mean * counts.n != counts.correct:
        text += f", mean {counts.mean:.2f}"
    return text + (f", chance {statistics.chance:.2f}" if statistics.chance else "")


def _thumbnails(refs: Sequence[images.ImageRef]) -> tuple[str, ...]:
    """Return the images decoded and encoded again, small: nothing foreign gets into the page."""
    uris: list[str] = []
    for ref in refs[:4]:
        try:
            uris.append(images.thumbnail(ref, max_pixels=_THUMBNAIL))
        except RecordError as error:
            log.debug("no picture on the page: %s", error)
    return tuple(uris)
