"""Turn a sample into the prompt that a model sees. The only place where prompt text is written.

The layout follows the released recipe, so that a pass rate measured here is that of the training
distribution:

    system   SYSTEM
    user     instruction (answer-only or thinking)
             [+ " " + format guidance] + line break
             [spatial-reasoning: SPATIAL + line break]
             problem, each `<image>` replaced by the model's own image tokens
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ovrl import images
from ovrl.errors import RecordError
from ovrl.records import IMAGE_MARK, PromptType, Sample

SYSTEM = "You are a helpful AI assistant."

_ANSWER = "Put ONLY your final answer within <answer></answer>."
INSTRUCTIONS: dict[PromptType, str] = {
    "normal": _ANSWER,
    "thinking": f"Think step by step before you answer. Put your thinking within <think></think>. {_ANSWER}",
}

SPATIAL = "Before reasoning, give the coordinates (x, y, x, y) of every object that the question involves."
"""Added for `spatial-reasoning`, where the recipe pays a bonus for boxes in the chain of thought."""


def user_text(sample: Sample) -> str:
    """Return the user turn as text, with its `<image>` marks still in place."""
    question = sample.question
    head = INSTRUCTIONS[question.prompt_type]
    if sample.format_guidance:
        head += f" {sample.format_guidance.strip()}"
    if question.problem_type == "spatial-reasoning" and question.prompt_type == "thinking":
        head += f"\n{SPATIAL}"
    return f"{head}\n{question.problem}"


def messages(sample: Sample) -> list[dict[str, Any]]:
    """Return the conversation in the form of `apply_chat_template`, one image part per mark.

    Raises:
        RecordError: the number of `<image>` marks is not the number of images.
    """
    pieces = user_text(sample).split(IMAGE_MARK)
    marks = len(pieces) - 1
    if marks != len(sample.images):
        raise RecordError(
            "problem",
            f"{marks} {IMAGE_MARK} mark{'s' * (marks != 1)} for {len(sample.images)} "
            f"image{'s' * (len(sample.images) != 1)}; write one mark where each image belongs",
        )
    content: list[dict[str, str]] = []
    for number, piece in enumerate(pieces):
        if number:
            content.append({"type": "image"})
        if piece:
            content.append({"type": "text", "text": piece})
    return [
        {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
        {"role": "user", "content": content},
    ]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an engine is asked: a conversation, and the images of its image parts, in order."""

    messages: list[dict[str, Any]]
    images: tuple[Image.Image, ...]
    """RGB, inside the pixel budget."""


def build(sample: Sample, *, max_pixels: int = images.MAX_PIXELS) -> Prompt:
    """Return the sample's prompt with its images opened.

    Raises:
        RecordError: an image cannot be opened, or marks and images do not match.
    """
    conversation = messages(sample)
    return Prompt(conversation, tuple(images.load(ref, max_pixels=max_pixels) for ref in sample.images))


def digest() -> str:
    """Return a short digest of every template, recorded in manifests so that runs can be compared."""
    text = "\n".join((SYSTEM, *INSTRUCTIONS.values(), SPATIAL))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
