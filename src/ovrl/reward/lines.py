"""What can be scored: the lines of `ovrl rollout`, and any JSONL with a completion, an answer and a type."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ovrl import codec
from ovrl.errors import RecordError
from ovrl.records import Question

COMPLETION_NAMES = ("completion", "response", "output", "prediction")
ANSWER_NAMES = ("answer", "ground_truth", "gold", "solution")


@dataclass(frozen=True, slots=True)
class Line:
    """One completion to be scored, and the JSON object that it came in."""

    record: Mapping[str, Any]
    question: Question
    completion: str


def parse(record: Any, number: int) -> Iterator[Line]:
    """Yield what one JSON object asks to be scored: one completion, or each of `completions`.

    Args:
        record: the object. The completion may be called `completion`, `response`, `output` or
            `prediction`, the gold answer `answer`, `ground_truth`, `gold` or `solution`.
        number: its line, which becomes the sample id when there is none.

    Raises:
        RecordError: no completion or no answer is there, or a field is wrong.
    """
    if not isinstance(record, Mapping):
        raise RecordError("", f"a JSON object is expected, not {type(record).__name__}")
    answer = _first(record, ANSWER_NAMES)
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)  # people write 3, and mean "3"
    question = codec.decode_question({**record, "answer": answer})
    several = record.get("completions")
    if several is None:
        yield Line(record, question, _text(_first(record, COMPLETION_NAMES), "completion"))
        return
    if not isinstance(several, list):
        raise RecordError("completions", "a list of strings is expected")
    rest = {name: value for name, value in record.items() if name != "completions"}
    sample_id = str(record.get("sample_id") or record.get("id") or number)
    for k, completion in enumerate(several):
        text = _text(completion, f"completions.{k}")
        own = {"id": f"{sample_id}#{k}", "sample_id": sample_id, "k": k, "completion": text}
        yield Line(rest | own, question, text)


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if record.get(name) is not None:
            return record[name]
    raise RecordError(names[0], f"missing; give one of {', '.join(names)}")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RecordError(name, f"a string is expected, not {type(value).__name__}")
    return value
