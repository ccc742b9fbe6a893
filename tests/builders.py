"""Small valid records, one default for each argument."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from ovrl.manifest import Identity
from ovrl.records import ImageRef, PromptType, Question, Sample


def picture(size: tuple[int, int] = (24, 24), color: Any = "red", *, mode: str = "RGB", form: str = "PNG") -> bytes:
    """Return an encoded image of one colour."""
    stream = io.BytesIO()
    Image.new(mode, size, color).save(stream, form)
    return stream.getvalue()


def ref(color: Any = "red", size: tuple[int, int] = (24, 24)) -> ImageRef:
    return ImageRef(data=picture(size, color))


def sample(
    sample_id: str = "s1",
    *,
    problem: str = "<image>How many?",
    answer: tuple[str, ...] = ("3",),
    answer_type: str = "number",
    problem_type: str = "counting",
    prompt_type: PromptType = "normal",
    images: tuple[ImageRef, ...] | None = None,
    format_guidance: str | None = None,
    source: str | None = "made",
    meta: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Sample:
    return Sample(
        id=sample_id,
        images=(ref(),) if images is None else images,
        question=Question(
            problem=problem,
            answer=answer,
            answer_type=answer_type,
            problem_type=problem_type,
            prompt_type=prompt_type,
            source=source,
            meta=meta or {},
        ),
        format_guidance=format_guidance,
        extra=extra or {},
    )


def line(sample_id: str = "s1", k: int = 0, completion: str = "<answer>3</answer>", **fields: Any) -> dict[str, Any]:
    """Return a line that `ovrl score` reads."""
    return {
        "id": f"{sample_id}#{k}",
        "sample_id": sample_id,
        "k": k,
        "completion": completion,
        "answer": ["3"],
        "answer_type": "number",
        **fields,
    }


def identity(command: str = "test", *, seed: int = 1, inputs: Mapping[str, Any] | None = None, **more: Any) -> Identity:
    return Identity(command=command, settings=more, seed=seed, inputs=inputs or {})
