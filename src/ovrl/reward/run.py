"""Scoring as a job: lines in, the same lines with their score out, in order, none lost."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from ovrl.errors import RecordError, UsageError
from ovrl.records import ANSWER_TYPES, UNSCORED
from ovrl.rejects import Rejects
from ovrl.reward.lines import Line, parse
from ovrl.reward.pool import ScorePool, Timed
from ovrl.reward.settings import ScoreSettings
from ovrl.store import JsonLines

log = logging.getLogger(__name__)


def score_lines(
    lines: Iterable[tuple[int, Any | RecordError]],
    output: JsonLines,
    rejects: Rejects,
    settings: ScoreSettings,
    *,
    name: str,
    on_done: Callable[[int], None] = lambda count: None,
) -> dict[str, int]:
    """Write each line with its score and return the counts.

    The lines that an earlier run left in `output` are counted and not scored again: order is kept, so the
    first of them are done.

    Args:
        lines: (line number, JSON value or why it could not be read).
        output: where they go; finished here.
        rejects: takes lines that cannot be scored.
        settings: mode, rule, limits.
        name: how errors call the input.
        on_done: told how many lines are new.
    """
    counts = Counter[str](lines=len(output.recovered))
    for record in output.recovered:
        _count(counts, record["status"])
    asked: list[Line] = []

    def questions() -> Iterator[Any]:
        readable = _readable(lines, rejects, name, counts)
        for record, line in zip(output.recovered, islice(readable, len(output.recovered)), strict=False):
            _compare(record, line, name)
        for line in readable:
            asked.append(line)
            yield line.question, line.completion

    with ScorePool(settings) as pool:
        for timed in pool.judge(questions()):
            line = asked.pop(0)
            output.write(scored(line.record, timed, settings.mode))
            counts["lines"] += 1
            _count(counts, timed.verdict.score.status)
            on_done(1)
    counts["rejected"] = rejects.count
    if unknown := counts["unknown_answer_type"]:
        log.warning("%d lines have no answer_type, or an unknown one; they were scored as 'any'", unknown)
    output.finish(counts)
    return dict(counts)


def _compare(record: Any, line: Line, name: str) -> None:
    """Raise when a recovered score is of another line: a pipe may give other lines the second time."""
    (earlier,) = parse(record, 0)
    if (earlier.question, earlier.completion) != (line.question, line.completion):
        raise UsageError(
            f"{name} is not what the output was begun with (id {record.get('id')}); "
            "give --overwrite to start again, or choose another output"
        )


def scored(record: Any, timed: Timed, mode: str) -> dict[str, Any]:
    """Return the record with the score's fields."""
    score = timed.verdict.score
    note = {"note": score.note} if score.note else {}
    return {
        **record,
        **note,
        "reward": score.reward,
        "components": dict(score.components),
        "status": score.status,
        "extracted": score.extracted,
        "scorer": timed.verdict.scorer,
        "mode": mode,
        "elapsed_ms": round(timed.elapsed_ms, 3),
    }


def _readable(
    lines: Iterable[tuple[int, Any | RecordError]], rejects: Rejects, name: str, counts: Counter[str]
) -> Iterator[Line]:
    for number, record in lines:
        given = record.get("id") if isinstance(record, dict) else None
        try:
            if isinstance(record, RecordError):
                raise record
            parsed = list(parse(record, number))
        except RecordError as error:
            where = error if error.where else error.at(f"{name}:{number}")
            rejects.add(where, line=number, record_id=given if isinstance(given, str) else None)
            continue
        counts["unknown_answer_type"] += sum(_unknown(line.record) for line in parsed)
        yield from parsed


def _unknown(record: Any) -> bool:
    return record.get("answer_type") not in ANSWER_TYPES


def _count(counts: Counter[str], status: str) -> None:
    counts[f"status_{status}"] += 1
    counts["unscored"] += status in UNSCORED
