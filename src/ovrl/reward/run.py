"""Scoring as a job: lines in, the same lines with their score out, in order, none lost."""

import heapq
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ovrl.errors import RecordError, UsageError
from ovrl.json_lines import JsonLines
from ovrl.records import UNSCORED
from ovrl.rejects import Rejects
from ovrl.reward.batch import Batch, Duty, Lines, Part, Reject
from ovrl.reward.fleet import Fleet
from ovrl.reward.line_scorer import UNKNOWN, known_type
from ovrl.reward.line_source import LineSource
from ovrl.reward.lines import Line, parse
from ovrl.reward.why import difference

log = logging.getLogger(__name__)

_BATCH_SECONDS = 0.02
"""Work in one batch: long enough that handing it over costs nothing, short enough that no worker waits for another."""
_GROWTH = 8
"""A batch is at most so many times as long as the one before: the first lines may be the cheap ones."""
_WINDOW = 16
"""Batches for each worker that may wait, in memory, behind a slow one."""
SHOWN = 20
"""Explanations and differences that are kept for the terminal."""


@dataclass(slots=True)
class Tally:
    """What scoring counts."""

    by_type: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])
    """(answer type, status) -> [completions, sum of their rewards]."""
    differing: Counter[str] = field(default_factory=Counter[str])
    """Answer type -> completions that the compared modes reward differently."""
    explained: list[bytes] = field(default_factory=list[bytes])
    """The first scored lines, when they are explained."""
    largest: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list[tuple[float, int, dict[str, Any]]])
    """The largest of these differences, as a heap of (size, order of arrival, difference)."""

    def add(self, part: Part) -> None:
        """Count what a worker has answered."""
        for (answer_type, status), (count, total) in part.tally.items():
            self.add_scores(answer_type, status, count, total)
        for found in part.differences:
            self.add_difference(found)

    def add_difference(self, found: dict[str, Any]) -> None:
        """Count a completion that the compared modes reward differently."""
        self.differing[found["answer_type"]] += 1
        size = abs((found["reward"] or 0.0) - (found["compared"]["reward"] or 0.0))
        heapq.heappush(self.largest, (size, -self.differing.total(), found))
        if len(self.largest) > SHOWN:
            heapq.heappop(self.largest)

    def add_scores(self, answer_type: str, status: str, count: float, total: float) -> None:
        """Count completions of one type that ended alike, and the sum of their rewards."""
        known = self.by_type.setdefault((answer_type, status), [0, 0.0])
        known[0] += count
        known[1] += total

    def add_scored(self, number: int, record: dict[str, Any]) -> None:
        """Count a scored line, as it stands in a file, that came from the line of this number."""
        answer_type, status = known_type(record), record["status"]
        self.add_scores(answer_type, status, 1, 0.0 if status in UNSCORED else record["reward"])
        if "compared" in record and (found := difference(number, answer_type, record)):
            self.add_difference(found)

    @property
    def lines(self) -> int:
        """How many completions were scored."""
        return int(sum(count for count, _ in self.by_type.values()))

    def counts(self) -> dict[str, Any]:
        """Return the counts as a manifest keeps them."""
        counts = Counter[str](lines=self.lines, unscored=0)
        for (answer_type, status), (count, _) in self.by_type.items():
            counts[f"status_{status}"] += int(count)
            counts["unscored"] += int(count) if status in UNSCORED else 0
            counts["unknown_answer_type"] += int(count) if answer_type == UNKNOWN else 0
        return dict(counts)

    def by_answer_type(self) -> dict[str, dict[str, float]]:
        """Return for each answer type the completions, the mean of their rewards, and how many ended how."""
        found: dict[str, dict[str, float]] = {}
        for (answer_type, status), (count, total) in sorted(self.by_type.items()):
            row = found.setdefault(answer_type, {"lines": 0, "reward_mean": 0.0})
            row |= {"lines": row["lines"] + int(count), "reward_mean": row["reward_mean"] + total, status: int(count)}
        for row in found.values():
            judged = row["lines"] - sum(row.get(status, 0) for status in UNSCORED)
            row["reward_mean"] = row["reward_mean"] / judged if judged else math.nan
        return found

    def largest_differences(self) -> list[dict[str, Any]]:
        """Return the largest differences, the largest first; of equal ones, the first."""
        return [difference for *_, difference in sorted(self.largest, key=lambda entry: entry[:2], reverse=True)]


def score_lines(
    source: LineSource,
    output: JsonLines,
    rejects: Rejects,
    duty: Duty,
    *,
    on_done: Callable[[int], None] = lambda count: None,
) -> Tally:
    """Write each line with its score, and return what was counted.

    The lines that an earlier run left in `output` are counted and not scored again: order is kept, so the
    first of them are done.

    Args:
        source: the lines.
        output: where they go; finished here.
        rejects: takes lines that cannot be scored.
        duty: how they are scored.
        on_done: told how many lines are new.
    """
    tally = Tally()
    with Fleet(duty) as fleet:
        fleet.start()
        _skip(source, output, rejects, tally)
        for name, part in _answers(source, fleet, _WINDOW * duty.workers):
            for bad in part.rejects:
                _reject(rejects, name, bad)
            output.write_encoded(part.lines)
            tally.add(part)
            if duty.explain:
                tally.explained += part.lines[0].splitlines()[: SHOWN - len(tally.explained)]
            on_done(int(sum(count for count, _ in part.tally.values())))
    for number, lost in source.bad:
        rejects.add(lost, line=number)
    counts = {**tally.counts(), "rejected": rejects.count}
    if (unknown := counts.get("unknown_answer_type")) and duty.reward is None:
        log.warning("%d lines have no answer_type, or an unknown one; they were scored as 'any'", unknown)
    output.finish(counts)
    return tally


def _answers(source: LineSource, fleet: Fleet, window: int) -> Iterator[tuple[str, Part]]:
    """Yield the file's name and the answer to its next lines, in their order."""
    flights: dict[int, _Flight] = {}  # in order of their numbers
    number, size = 0, 1
    while flights or not source.is_done:
        while fleet.is_free and len(flights) < window and _has_lines(source):
            lines = source.take(size)
            flights[number] = _Flight(source.name, lines.text.count(b"\n") or 1, time.monotonic())
            fleet.give(number, Batch(lines=lines))
            number += 1
        yield from _landed(flights)  # written while the workers are at the next lines
        waits_for_lines = source.is_slow and fleet.is_free
        if not source.is_slow:
            source.read()
        if not (fleet.is_busy or waits_for_lines):
            continue  # all is answered, or the source has come to its end
        for answered, part in fleet.wait(*([source.fileno()] if waits_for_lines else [])):
            flights[answered].parts.append(part)
            if part.is_last:
                size = flights[answered].next_size()


def _landed(flights: "dict[int, _Flight]") -> Iterator[tuple[str, Part]]:
    """Yield what has come of the first batches, and forget those that are answered."""
    while flights:
        first = next(iter(flights))
        flight = flights[first]
        yield from ((flight.name, part) for part in flight.parts)
        if not (flight.parts and flight.parts[-1].is_last):
            flight.parts.clear()
            return
        del flights[first]


@dataclass(slots=True)
class _Flight:
    """A batch that was given, and what has come of it."""

    name: str
    count: int
    begun: float
    parts: list[Part] = field(default_factory=list[Part])

    def next_size(self) -> int:
        """Return how many lines make the next batch."""
        wanted = self.count * _BATCH_SECONDS / max(1e-6, time.monotonic() - self.begun)
        return max(1, min(int(wanted), self.count * _GROWTH))


def _has_lines(source: LineSource) -> bool:
    """Whether lines can be taken; those of a slow source are read when they are there."""
    if not source.is_slow or source.is_readable:
        source.read()
    return source.has_lines


def _skip(source: LineSource, output: JsonLines, rejects: Rejects, tally: Tally) -> None:
    """Take the lines that an earlier run has scored.

    Raises:
        UsageError: they are not those that the output was begun with; a pipe may give others the second time.
    """
    earlier = output.recovered_lines()
    kept, raw = 0, next(earlier, None)
    while raw is not None:
        source.read()
        taken = source.take(1)
        group: list[tuple[bytes, Any]] = []
        for line in _parsed(taken, source.name, rejects):
            if raw is None:  # stopped in the middle of a line's completions
                output.keep(kept)
                source.put_back(taken)
                return
            (scored,) = parse(raw, 0)
            if (scored.question, scored.completion) != (line.question, line.completion):
                raise UsageError(
                    f"{source.name} is not what the output was begun with (id {scored.record.get('id')}); "
                    "give --overwrite to start again, or choose another output"
                )
            group.append((raw, scored.record))
            raw = next(earlier, None)
        for written, record in group:
            kept += len(written)
            tally.add_scored(taken.number(0), record)
        if source.is_done and raw is not None:
            raise UsageError(f"{source.name} has fewer lines than were scored of it; give --overwrite to start again")


def _parsed(taken: Lines, name: str, rejects: Rejects) -> list[Line]:
    """Return the completions of one line; a line that cannot be scored goes to `rejects`."""
    for number, raw in taken.numbered():
        if raw.isspace():
            continue
        try:
            return parse(raw, number)
        except RecordError as error:
            _reject(rejects, name, Reject.of(number, raw, error))
    return []


def _reject(rejects: Rejects, name: str, bad: Reject) -> None:
    error = RecordError(bad.field, bad.reason, f"{name}:{bad.line}")
    rejects.add(error, line=bad.line, record_id=bad.record_id)
