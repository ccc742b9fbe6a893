"""Score the completions of one line, and keep count. The inner loop of `ovrl score`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from ovrl.errors import RecordError
from ovrl.records import ANSWER_TYPES, Score
from ovrl.reward.batch import WHOLE, Clock, Part, Place, Reject
from ovrl.reward.judge import Judge, Verdict
from ovrl.reward.lines import Line, encode, load, memo_key, read

_KNOWN = frozenset(ANSWER_TYPES)
_LARGE = 1 << 20
"""Bytes of a line from which on reading it may take a worker down."""
_MEMO_SIZE = 16_384
"""Short answers repeat: "<answer>B</answer>" for a gold B is judged once in so many lines."""
UNKNOWN = "unknown"
"""How lines without a known answer type are counted; the rule of `any` scores them."""


def known_type(record: Mapping[str, Any]) -> str:
    """Return how a record's answer type is counted."""
    answer_type = record.get("answer_type")
    return answer_type if answer_type in _KNOWN else UNKNOWN


_WHY = {
    "no_answer": "there is no answer in <answer>...</answer>",
    "ambiguous": "several answers are offered",
    "parse_error": "the answer cannot be read as {type}",
    "invalid_gold": "the gold answer cannot be read as {type}",
    "timeout": "judging it took too long",
    "error": "the grader failed",
    "unsupported": "this machine cannot judge it",
}


def _count(part: Part, key: tuple[str, str], reward: float) -> None:
    count = part.tally.get(key)
    if count is None:
        count = part.tally[key] = [0, 0.0]
    count[0] += 1
    count[1] += reward


def why(score: Score, answer_type: str) -> str:
    """Return, for a person, why a score is what it is."""
    if score.status == "ok":
        accuracy = score.components.get("accuracy", score.reward or 0.0)
        found = (
            "equals a gold answer" if accuracy >= 1 else "agrees in part" if accuracy > 0 else "equals no gold answer"
        )
    else:
        found = _WHY[score.status].format(type=answer_type)
    return f"{found}: {score.note}" if score.note else found


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
        self._is_memoizing = judge.is_plain and not is_explained and compared is None
        self._memo: dict[tuple[Any, ...], tuple[bytes, tuple[str, str], float]] = {}
        """What was appended to a line that asked the same, how it was counted, and its reward."""
        self._compared = compared

    def score(self, item: int, numbered: tuple[int, bytes], failures: Mapping[Place, Score], part: Part) -> None:
        """Add a line's scored completions to the part, or its rejection.

        Args:
            item: its place in the batch, for the clock.
            numbered: its number in the file, from 1, and the line.
            failures: what is known of completions that cannot be judged.
            part: takes the result.
        """
        number, raw = numbered
        if failures and (failure := failures.get((item, WHOLE))):
            part.rejects.append(Reject(number, None, "", f"the line cannot be read: {failure.note}"))
            return
        if len(raw) > _LARGE:
            self._clock.begin_reading(item)
        try:
            record, is_plain = load(raw)
            key = memo_key(record) if is_plain and self._is_memoizing else None
            if key is not None and (known := self._memo.get(key)) is not None:
                end, count_key, reward = known
                part.lines.append(raw[: raw.rindex(b"}")] + end)
                _count(part, count_key, reward)
                return
            self._clock.begin_reading(item)
            lines = read(record, raw, number, is_plain=is_plain)
        except RecordError as error:
            part.rejects.append(Reject.of(number, raw, error))
            return
        for k, line in enumerate(lines):
            answer_type = line.question.answer_type
            self._clock.begin(item, k, answer_type)
            if failures and (item, k) in failures:
                verdict = Verdict(failures[item, k], "none")
            else:
                verdict = self._judge(line.question, line.completion, line.record)
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
            if self._is_explained or self._compared:
                fields |= self._more(number, line, verdict, part)
            fields["elapsed_ms"] = self._clock.elapsed_ms()
            part.lines.append(encode(line, fields))
            count_key = (known_type(line.record), score.status)
            _count(part, count_key, score.reward or 0.0)
            if key is not None and not failures:
                if len(self._memo) >= _MEMO_SIZE:
                    self._memo.clear()
                self._memo[key] = (
                    b"," + orjson.dumps(fields | {"elapsed_ms": 0.0})[1:] + b"\n",
                    count_key,
                    score.reward or 0.0,
                )

    def _more(self, number: int, line: Line, verdict: Verdict, part: Part) -> dict[str, Any]:
        """Return why the reward is what it is, and what the compared mode says."""
        fields: dict[str, Any] = {}
        score = verdict.score
        if self._is_explained:
            fields["explain"] = {
                "rule": verdict.scorer,
                "gold": self._nearest_gold(line, score),
                "why": why(score, line.question.answer_type),
            }
        if self._compared is not None:
            other = self._compared(line.question, line.completion, line.record).score
            fields["compared"] = {
                "mode": self._compared.mode,
                "reward": other.reward,
                "status": other.status,
                "extracted": other.extracted,
                "why": why(other, line.question.answer_type),
            }
            if score.reward != other.reward:
                answer_type = line.question.answer_type
                about = {"line": number, "id": line.record.get("id"), "answer_type": answer_type}
                this = {"reward": score.reward, "extracted": score.extracted, "why": why(score, answer_type)}
                part.differences.append({**about, **this, "compared": fields["compared"]})
        return fields

    def _nearest_gold(self, line: Line, score: Score) -> str | None:
        """Return the gold answer that the reward comes from."""
        golds = line.question.answer
        if len(golds) < 2 or score.reward is None:
            return golds[0] if golds else None
        rewards = (
            self._judge(replace(line.question, answer=(gold,)), line.completion, line.record).score.reward
            for gold in golds
        )
        return max(zip(rewards, golds, strict=True), key=lambda pair: -1.0 if pair[0] is None else pair[0])[1]
