"""Score the completions of lines, and keep count. The inner loop of `ovrl score`."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ovrl.errors import RecordError
from ovrl.records import ANSWER_TYPES, Score
from ovrl.reward.batch import COMPARED, EXPLAINED, WHOLE, Batch, Part, Place, Reject
from ovrl.reward.clock import Clock
from ovrl.reward.judge import Judge, Verdict
from ovrl.reward.lines import Line, encode, parse
from ovrl.reward.recall import Key, Recall
from ovrl.reward.why import difference, why

_KNOWN = frozenset(ANSWER_TYPES)
UNKNOWN = "unknown"
"""How lines without a known answer type are counted; the rule of `any` scores them."""
FLUSH_AFTER = 0.05
"""Seconds of work after which a part is sent: what has to be done again if the next completion hangs."""


def known_type(record: Mapping[str, Any]) -> str:
    """Return how a record's answer type is counted."""
    answer_type = record.get("answer_type")
    return answer_type if answer_type in _KNOWN else UNKNOWN


class LineScorer:
    """Turns lines into scored lines."""

    def __init__(
        self,
        judge: Judge,
        clock: Clock,
        *,
        null_as: float | None = None,
        is_explained: bool = False,
        compared: Judge | None = None,
    ) -> None:
        """Take the judge, what is written for a null reward, and a second judge to compare with."""
        self._judge = judge
        self._clock = clock
        self._null_as = null_as
        self._is_explained = is_explained
        self._compared = compared
        is_recalling = judge.is_plain and not is_explained and compared is None
        self._recall = Recall(judge.mode) if is_recalling else None

    def score(self, batch: Batch) -> Iterator[Part]:
        """Yield the scored lines of a batch, a part when there is something to tell, and the last one."""
        assert batch.lines is not None
        lines = batch.lines.split()
        part, item, sent, sent_at = Part(), 0, 0, time.monotonic()
        while item < len(lines):
            key = None
            if self._recall is not None and not batch.failures:
                item, key = self._recall.run(lines, item, part)
            if item < len(lines):
                if lines[item] and not lines[item].isspace():
                    is_whole = item + 1 < len(lines) or batch.lines.text.endswith(b"\n")
                    self._score(item, lines[item], is_whole, batch, part, key)
                    self._clock.rest()
                item += 1
            if self._clock.begun - sent_at > FLUSH_AFTER:
                part.done, sent = item - sent, item
                yield part.seal()
                part, sent_at = Part(), time.monotonic()
        part.done, part.is_last = item - sent, True
        yield part.seal()

    def _score(self, item: int, raw: bytes, is_whole: bool, batch: Batch, part: Part, key: Key | None) -> None:
        """Add a line's scored completions to the part, or its rejection.

        Args:
            item: its place in the batch.
            raw: the line without its line break.
            is_whole: whether it had one; otherwise it was cut off in writing.
            batch: that it belongs to.
            part: takes the result.
            key: what to remember the score under.
        """
        assert batch.lines is not None
        number, failures = batch.lines.number(item), batch.failures
        if failures and (failure := failures.get((item, WHOLE))):
            part.rejects.append(Reject(number, None, "", f"the line cannot be read: {failure.note}"))
            return
        self._clock.begin_reading(item)
        raw = raw + b"\n" if is_whole else raw
        try:
            lines = parse(raw, number)
        except RecordError as error:
            part.rejects.append(Reject.of(number, raw, error))
            return
        for k, line in enumerate(lines):
            verdict = self._verdict(self._judge, line, (item, k), failures)
            score = verdict.score
            fields: dict[str, Any] = {
                "reward": self._null_as if score.reward is None else score.reward,
                "components": score.components,
                "status": score.status,
                "extracted": score.extracted,
                "scorer": verdict.scorer,
                "mode": self._judge.mode,
            }
            if score.note:
                fields["note"] = score.note
            fields["elapsed_ms"] = self._clock.elapsed_ms()
            counted = known_type(line.record), score.status
            if self._is_explained:
                fields["explain"] = {
                    "rule": verdict.scorer,
                    "gold": self._nearest_gold(line, score, (item, EXPLAINED + k), failures),
                    "why": why(fields, self._judge.named_type(line.question)),
                }
            if self._compared is not None:
                self._compare(fields, line, (item, COMPARED + k), failures)
                found = difference(number, counted[0], {"id": line.record.get("id"), **fields})
                part.differences += [found] if found else []
            part.lines.append(encode(line, fields))
            part.count(counted, score.reward or 0.0)
            if key is not None and self._recall is not None:
                self._recall.keep(key, fields, counted)

    def _verdict(self, judge: Judge, line: Line, place: Place, failures: Mapping[Place, Score]) -> Verdict:
        """Return what is known of a completion, or what the judge says of it within the time limit."""
        if failures and place in failures:
            self._clock.begin(*place)
            return Verdict(failures[place], "none")
        self._clock.begin(*place, judge.rule_type(line.question))
        return judge(line.question, line.completion, line.record)

    def _compare(self, fields: dict[str, Any], line: Line, place: Place, failures: Mapping[Place, Score]) -> None:
        """Add what the compared mode says; it has a time limit of its own."""
        assert self._compared is not None
        other = self._verdict(self._compared, line, place, failures).score
        said = {"reward": other.reward, "components": other.components, "status": other.status, "note": other.note}
        fields["compared"] = {
            "mode": self._compared.mode,
            "reward": other.reward,
            "status": other.status,
            "extracted": other.extracted,
            "why": why(said, self._compared.named_type(line.question)),
        }

    def _nearest_gold(self, line: Line, score: Score, place: Place, failures: Mapping[Place, Score]) -> str | None:
        """Return the gold answer that the reward comes from; the first one when that cannot be told in time."""
        golds = line.question.answer
        if len(golds) < 2 or not score.reward or place in failures:
            return golds[0] if golds else None
        best: tuple[float, str] | None = None
        for gold in golds:
            alone = replace(line, question=replace(line.question, answer=(gold,)))
            reward = self._verdict(self._judge, alone, place, failures).score.reward
            if reward is not None and (best is None or reward > best[0]):
                best = reward, gold
        return best[1] if best else golds[0]
