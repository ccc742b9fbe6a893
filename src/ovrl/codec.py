"""Read and write records as JSON objects, strictly: a wrong field is an error that names it.

Unknown fields pass through untouched. Nothing here opens a data file; `store` and `parquet` do.
"""

import base64
import binascii
import datetime
import decimal
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ovrl import images
from ovrl.errors import RecordError
from ovrl.records import PROMPT_TYPES, Completion, ImageRef, Question, Sample

_OLDER_NAMES = {"math-expression": "math-expressions", "bool": "boolean"}


class _Wire(BaseModel):
    """Fields of one JSON object; what is unknown lands in `model_extra`."""

    model_config = ConfigDict(strict=True, extra="allow")


class _ImageFields(_Wire):
    path: str | None = None
    data: bytes | str | None = Field(default=None, alias="bytes", union_mode="left_to_right")


class _QuestionFields(_Wire):
    answer_type: str | None = None
    problem_type: str | None = None
    prompt_type: str | None = None
    source: str | None = None
    meta: dict[str, Any] | str | None = None


class _SampleFields(_QuestionFields):
    id: str | int | None = None
    images: list[str | _ImageFields] | None = None
    problem: str
    answer: list[str] | str
    format_guidance: str | None = None


_W = TypeVar("_W", bound=_Wire)


def _validate(wire: type[_W], record: Any) -> _W:
    """Return the checked fields.

    Raises:
        RecordError: naming the first field at fault and what it held.
    """
    if not isinstance(record, Mapping):
        raise RecordError("", f"a JSON object is expected, not {type(record).__name__}")
    try:
        return wire.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            raise RecordError(name, "this field is missing") from error
        got = json.dumps(record.get(name), default=lambda value: f"<{type(value).__name__}>")
        message = first["msg"][0].lower() + first["msg"][1:]
        raise RecordError(name, f"{message} (got {got[:60]})") from error


def decode_sample(record: Any, base: Path) -> Sample:
    """Return the sample of a JSON object or a parquet row.

    Args:
        record: the object, fields as in the contract.
        base: the folder that relative image paths start from.

    Raises:
        RecordError: a field is missing or wrong.
    """
    fields = _validate(_SampleFields, record)
    question = _question(fields)
    given = "" if fields.id is None else str(fields.id)
    for name, text in (("id", given), ("problem", question.problem), ("answer", "".join(question.answer))):
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            raise RecordError(name, "holds half of a surrogate pair, which no tokenizer takes")
    if not question.answer:
        raise RecordError("answer", "the list is empty; at least one gold answer is needed")
    refs = tuple(_decode_image(image, base) for image in fields.images or ())
    extra = dict(fields.model_extra or {})
    extra.pop("schema", None)
    return Sample(
        id=given or content_id(question, refs),
        images=refs,
        question=question,
        format_guidance=fields.format_guidance,
        extra=extra,
    )


def _question(fields: _SampleFields) -> Question:
    if fields.prompt_type not in PROMPT_TYPES:
        known = ", ".join(name for name in PROMPT_TYPES if name)
        raise RecordError("prompt_type", f"unknown value {fields.prompt_type!r}; known: {known}")
    return Question(
        problem=fields.problem,
        answer=(fields.answer,) if isinstance(fields.answer, str) else tuple(fields.answer),
        answer_type=_OLDER_NAMES.get(fields.answer_type or "any", fields.answer_type or "any"),
        problem_type=fields.problem_type or "general",
        prompt_type=PROMPT_TYPES[fields.prompt_type],
        source=fields.source,
        meta=_decode_meta(fields.meta),
    )


def _decode_meta(meta: dict[str, Any] | str | None) -> dict[str, Any]:
    """Return the object; parquet keeps it as JSON text, since its keys differ from row to row."""
    if not isinstance(meta, str):
        return meta or {}
    try:
        decoded = json.loads(meta)
    except json.JSONDecodeError as error:
        raise RecordError("meta", f"not JSON ({error.msg})") from error
    if not isinstance(decoded, dict):
        raise RecordError("meta", "a JSON object is expected")
    return decoded


def _decode_image(image: str | _ImageFields, base: Path) -> ImageRef:
    if isinstance(image, str):
        return images.parse(image, base)
    data = image.data
    if isinstance(data, str):
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise RecordError("images", f"`bytes` is not base64 ({error})") from error
    if data is not None:
        return ImageRef(data=data, path=image.path)
    if image.path is None:
        raise RecordError("images", "neither `path` nor `bytes` is given")
    return images.parse(image.path, base)


def content_id(question: Question, refs: Iterable[ImageRef]) -> str:
    """Return a stable id made from what the sample says: source, problem, answers, image bytes."""
    digest = hashlib.sha256()
    for part in (question.source or "", question.problem, *question.answer):
        digest.update(part.encode() + b"\x1f")
    for ref in refs:
        try:
            digest.update(hashlib.sha256(images.read_bytes(ref)).digest())
        except RecordError:  # an unreadable image is reported where it is opened
            digest.update((ref.path or "").encode())
    return digest.hexdigest()[:16]


def encode_sample(sample: Sample) -> dict[str, Any]:
    """Return the sample as a JSON object; embedded images become data URIs, others absolute paths."""
    refs = [
        images.to_data_uri(ref.data) if ref.data is not None else str(Path(ref.path or "").absolute())
        for ref in sample.images
    ]
    fields = _sample_fields(sample)
    return fields | {"images": refs, "meta": jsonable(fields["meta"])} | jsonable(sample.extra)


def jsonable(value: Any) -> Any:
    """Return the value as JSON can hold it: bytes as base64, times as ISO 8601, decimals as text, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def encode_row(sample: Sample) -> dict[str, Any]:
    """Return the sample as a parquet row with its images embedded, so that the file stands alone.

    Raises:
        RecordError: an image cannot be read.
    """
    return _sample_fields(sample) | {"images": encode_images(sample)}


def encode_images(sample: Sample) -> list[dict[str, Any]]:
    """Return the images as `datasets` holds them: the encoded file, and its bare name.

    Raises:
        RecordError: an image cannot be read.
    """
    return [
        {"bytes": images.read_bytes(ref), "path": Path(ref.path).name if ref.path else None} for ref in sample.images
    ]


def _sample_fields(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        **encode_question(sample.question),
        "format_guidance": sample.format_guidance,
    }


def encode_question(question: Question) -> dict[str, Any]:
    """Return the question's fields as they stand in samples, completions and scores."""
    return {
        "problem": question.problem,
        "answer": list(question.answer),
        "answer_type": question.answer_type,
        "problem_type": question.problem_type,
        "prompt_type": question.prompt_type,
        "source": question.source,
        "meta": dict(question.meta),
    }


def encode_completion(completion: Completion, *, with_tokens: bool) -> dict[str, Any]:
    """Return the completion as a JSON object; token ids and log-probabilities only when asked, and known."""
    record = {
        "schema": "ovrl.completion/1",
        "id": completion.id,
        "sample_id": completion.sample_id,
        "k": completion.k,
        "completion": completion.text,
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "model": completion.model,
        "policy_version": completion.policy_version,
        "seed": completion.seed,
        "sampling": dict(completion.sampling),
        **encode_question(completion.question),
    }
    if with_tokens and completion.token_ids is not None:
        record["token_ids"] = list(completion.token_ids)
        record["logprobs"] = list(completion.logprobs or ())
    return record
