"""One line of `ovrl score`: JSON bytes in, the same bytes plus the score out.

This is the hot path of scoring, a few microseconds a line: the fields are checked by hand, and a line
that has no score yet keeps its bytes, with the score's fields appended before the last brace.
"""

import json
from dataclasses import dataclass
from typing import Any

import orjson

from ovrl import strict_json
from ovrl.errors import RecordError
from ovrl.records import PROMPT_TYPES, Question

COMPLETION_NAMES = ("completion", "response", "output", "prediction")
ANSWER_NAMES = ("answer", "ground_truth", "gold", "solution")
SCORE_NAMES = frozenset(
    {"reward", "components", "status", "extracted", "scorer", "mode", "elapsed_ms", "note", "explain", "compared"}
)
"""What scoring adds to a record."""
_SCORED_BEFORE = frozenset({"reward", "status", "scorer", "mode"})
"""A record with these was scored by us. In others, a field that is called like one of the score is the user's."""


@dataclass(slots=True)
class Line:
    """One completion to be scored, and the JSON object that it came in."""

    record: dict[str, Any]
    question: Question
    completion: str
    raw: bytes | None
    """The object as it was read, without white space at the end; None when it is to be written anew."""


def load(raw: bytes) -> tuple[Any, bool]:
    """Return the JSON value, and whether `raw` may be passed on as it is.

    orjson is fast and strict. What it refuses gets a second chance: half of a surrogate pair, which JSON
    can escape, and bytes that are not UTF-8, which are replaced.

    Raises:
        RecordError: the line is torn or not JSON.
    """
    try:
        return orjson.loads(raw), True
    except orjson.JSONDecodeError:
        pass
    try:
        return strict_json.loads(raw.decode(errors="replace")), False
    except (ValueError, RecursionError) as error:
        raise RecordError("", strict_json.line_error(raw, error)) from error


def parse(raw: bytes, number: int) -> list[Line]:
    """Return what one JSON object asks to be scored: one completion, or each of `completions`.

    Args:
        raw: the object. The completion may be called `completion`, `response`, `output` or
            `prediction`, the gold answer `answer`, `ground_truth`, `gold` or `solution`.
        number: its line, which becomes the sample id when there is none.

    Raises:
        RecordError: no completion or no answer is there, or a field is wrong.
    """
    record, is_plain = load(raw)
    return read(record, raw, number, is_plain=is_plain)


def read(record: Any, raw: bytes, number: int, *, is_plain: bool) -> list[Line]:
    """Return the completions of a JSON value that was read from `raw`; see `parse`.

    Args:
        record: the value.
        raw: what it was read from.
        number: its line.
        is_plain: whether `raw` may be passed on as it is.

    Raises:
        RecordError: as for `parse`.
    """
    if type(record) is not dict:
        raise RecordError("", f"a JSON object is expected, not {type(record).__name__}")
    question = _question(record, raw)
    several = record.get("completions")
    if several is None:
        return [Line(record, question, _completion(record), raw.rstrip() if is_plain else None)]
    if not isinstance(several, list):
        raise RecordError("completions", "a list of strings is expected")
    if not several:
        raise RecordError("completions", "the list is empty: there is nothing to score")
    rest = {name: value for name, value in record.items() if name != "completions"}
    sample_id = str(record.get("sample_id") or record.get("id") or number)
    lines: list[Line] = []
    for k, completion in enumerate(several):
        if type(completion) is not str:
            raise RecordError(f"completions.{k}", f"a string is expected, not {type(completion).__name__}")
        own = {"id": f"{sample_id}#{k}", "sample_id": sample_id, "k": k, "completion": completion}
        lines.append(Line(rest | own, question, completion, None))
    return lines


def encode(line: Line, score: dict[str, Any]) -> bytes:
    """Return the line with the score's fields.

    Those of an earlier score of ours are replaced. The user's own fields of these names are kept as `input_<name>`.
    """
    try:
        if line.raw is not None and SCORE_NAMES.isdisjoint(line.record):
            return line.raw[:-1] + b"," + orjson.dumps(score)[1:] + b"\n"
        return orjson.dumps(_without_scores(line.record) | score) + b"\n"
    except TypeError:  # half of a surrogate pair
        return json.dumps(_without_scores(line.record) | score, allow_nan=False).encode() + b"\n"


def _without_scores(record: dict[str, Any]) -> dict[str, Any]:
    if record.keys() >= _SCORED_BEFORE:
        return {name: value for name, value in record.items() if name not in SCORE_NAMES}
    kept: dict[str, Any] = {}
    for name, value in record.items():
        new = name
        while new in SCORE_NAMES or (new != name and (new in record or new in kept)):
            new = f"input_{new}"
        kept[new] = value
    return kept


def _question(record: dict[str, Any], raw: bytes) -> Question:
    answer_type, problem_type, prompt_type = (
        record.get("answer_type"), record.get("problem_type"), record.get("prompt_type")
    )  # fmt: skip
    problem, source, meta = record.get("problem"), record.get("source"), record.get("meta")
    for name, value in (("answer_type", answer_type), ("problem_type", problem_type), ("problem", problem)):
        if value is not None and type(value) is not str:
            raise RecordError(name, f"a string is expected, not {type(value).__name__}")
    if prompt_type not in PROMPT_TYPES:
        known = ", ".join(name for name in PROMPT_TYPES if name)
        raise RecordError("prompt_type", f"unknown value {prompt_type!r}; known: {known}")
    return Question(
        problem=problem or "",
        answer=_answers(record, raw),
        answer_type=answer_type or "any",
        problem_type=problem_type or "general",
        prompt_type=PROMPT_TYPES[prompt_type],
        source=source if isinstance(source, str) else None,
        meta=_meta(meta) if meta else {},
    )


def _completion(record: dict[str, Any]) -> str:
    for name in COMPLETION_NAMES:
        value = record.get(name)
        if value is not None:
            if type(value) is not str:
                raise RecordError(name, f"a string is expected, not {type(value).__name__}")
            return value
    raise RecordError(COMPLETION_NAMES[0], f"missing; give one of {', '.join(COMPLETION_NAMES)}")


def _answers(record: dict[str, Any], raw: bytes) -> tuple[str, ...]:
    """Return the gold answers; a null is no answer, which the rules call an invalid gold."""
    for name in ANSWER_NAMES:
        value = record.get(name)
        if value is not None:
            break
    else:
        if not any(name in record for name in ANSWER_NAMES):
            raise RecordError(ANSWER_NAMES[0], f"missing; give one of {', '.join(ANSWER_NAMES)}")
        return ()
    if type(value) is str:
        return (value,)
    if type(value) is list and all(type(gold) is str for gold in value):
        return tuple(value)
    if type(value) in (int, float):  # people write 3, and mean "3"; the digits are taken as they stand
        return (str(json.loads(raw, parse_float=str, parse_int=str)[name]),)
    raise RecordError(name, "a string or a list of strings is expected")


def _meta(meta: Any) -> dict[str, Any]:
    """Return the object; parquet keeps it as JSON text, since its keys differ from row to row."""
    if isinstance(meta, str):
        try:
            meta = strict_json.loads(meta)
        except (ValueError, RecursionError) as error:
            raise RecordError("meta", f"not JSON ({strict_json.why(error)})") from error
    if not isinstance(meta, dict):
        raise RecordError("meta", "a JSON object is expected")
    return meta
