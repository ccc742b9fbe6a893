"""Scores that are known already: short answers repeat, and their rules look at nothing but the answer and the gold.

This is the hot path of `ovrl score`, about two microseconds for a line of which half goes to reading its JSON.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from ovrl.reward import spatial
from ovrl.reward.batch import Part
from ovrl.reward.extract import final_answer, lone_answer
from ovrl.reward.judge import is_guess
from ovrl.reward.lines import ANSWER_NAMES, COMPLETION_NAMES, SCORE_NAMES
from ovrl.reward.outcome import Mode

_RECALLED = frozenset({"number", "multiple-choice", "boolean", "bbox", "critic", "any"})
"""Answer types whose rule reads only the final answer, the gold answers and `meta`, which recalled lines have not."""
_MOST_BYTES = 100_000
"""A longer line is judged: it may be too long for a rule, or even to be read."""
_MOST_CHARS = 256
"""Longer answers and golds are not remembered."""
_MOST_SCORES = 16_384
_MOST_SHAPES = 1024
_MOST_FIELDS = 64
_TEXT = frozenset({str, type(None)})

Key = tuple[Any, ...]
"""Final answer, gold answers, the three types, and the box of a spatial problem: all that decides the score."""


@dataclass(slots=True)
class _Known:
    end: bytes
    """What is appended to a line."""
    counted: tuple[str, str]
    """As what it is counted: answer type and status."""
    reward: float
    hits: int = 0
    """Since they were last counted."""


class Recall:
    """Scored lines by what they ask."""

    def __init__(self, mode: Mode) -> None:
        """Take the mode of the scores."""
        self._mode: Mode = mode
        self._known: dict[Key, _Known] = {}
        self._shapes: dict[tuple[str, ...], tuple[str, str] | None] = {}
        """Names of a record's fields -> those of its completion and answer; None when it is to be looked at."""

    def run(self, lines: list[bytes], start: int, part: Part) -> tuple[int, Key | None]:
        """Score lines as long as their scores are known.

        Args:
            lines: of a batch.
            start: the first to be scored.
            part: takes the scored lines.

        Returns:
            The first line that has to be judged, or the number of lines, and the key to `keep` its score under.
        """
        hit: list[_Known] = []
        key, item = None, start
        append, known_scores, shapes = part.lines.append, self._known.get, self._shapes.get
        for item in range(start, len(lines)):  # where it ends is the answer
            raw = lines[item]
            key = None
            if len(raw) > _MOST_BYTES:
                break
            try:
                record = orjson.loads(raw)
                shape = tuple(record)
                names = shapes(shape) or self._names(shape, record)
                if names is None:
                    break
                key = self._key(record, record[names[0]], record[names[1]])
                known = known_scores(key) if key else None
            except (ValueError, TypeError):  # no JSON, no object, or a list where text is expected
                key = None
                break
            if known is None:
                break
            append(raw[: raw.rindex(b"}")])
            append(known.end)
            if not known.hits:
                hit.append(known)
            known.hits += 1
        else:
            item = len(lines)
        for known in hit:
            part.count(known.counted, known.reward, known.hits)
            known.hits = 0
        return item, key

    def keep(self, key: Key, fields: dict[str, Any], counted: tuple[str, str]) -> None:
        """Remember a score.

        Args:
            key: as `run` returned it; the record was scored, so it is valid.
            fields: what was added to it.
            counted: its answer type and status.
        """
        final, answer = key[:2]
        if key[2] not in _RECALLED or len(final or "") > _MOST_CHARS or sum(map(len, answer)) > _MOST_CHARS:
            return
        if len(self._known) >= _MOST_SCORES:
            self._known.clear()
        end = b"," + orjson.dumps(fields | {"elapsed_ms": 0.0})[1:] + b"\n"
        self._known[key] = _Known(end, counted, fields["reward"] or 0.0)

    def _key(self, record: dict[str, Any], completion: Any, answer: Any) -> Key | None:
        """Return the key of a record; None when it has to be looked at."""
        get = record.get
        if type(completion) is not str or type(get("problem")) not in _TEXT or get("meta"):
            return None
        if type(answer) is list:
            answer = answer[0] if len(answer) == 1 else tuple(answer)
        if type(answer) is not str and not (type(answer) is tuple and all(type(gold) is str for gold in answer)):
            return None
        if lone := lone_answer(completion):
            final = lone[1]
        elif self._mode == "strict" and is_guess(completion):
            return None
        else:
            final = final_answer(completion, self._mode)
        problem_type = get("problem_type")
        if problem_type == spatial.PROBLEM_TYPE:
            box = spatial.bonus(completion, self._mode)
            return final, answer, get("answer_type"), problem_type, get("prompt_type"), box
        return final, answer, get("answer_type"), problem_type, get("prompt_type")

    def _names(self, shape: tuple[str, ...], record: Any) -> tuple[str, str] | None:
        if shape in self._shapes or type(record) is not dict:
            return None
        completion = next((name for name in COMPLETION_NAMES if name in record), None)
        answer = next((name for name in ANSWER_NAMES if name in record), None)
        is_odd = len(shape) > _MOST_FIELDS or "completions" in record or not SCORE_NAMES.isdisjoint(record)
        names = None if completion is None or answer is None or is_odd else (completion, answer)
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        self._shapes[shape] = names
        return names
