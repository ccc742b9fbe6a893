"""The records that the commands exchange: what a question, a completion and a score are.

Standard library only. How they are read and written is in `codec`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

AnswerType = Literal[
    "multiple-choice",
    "math-expressions",
    "number",
    "boolean",
    "bbox",
    "ocrtext",
    "html-code",
    "svg-code",
    "general-code",
    "critic",
    "any",
]
ANSWER_TYPES: tuple[str, ...] = get_args(AnswerType)

PromptType = Literal["normal", "thinking"]
"""`normal` asks for the answer alone, `thinking` for a chain of thought first."""

PROMPT_TYPES: dict[str | None, PromptType] = {
    "normal": "normal",
    "thinking": "thinking",
    "default": "thinking",
    None: "thinking",
}
"""What may stand in `prompt_type`, and what it means; `default` is the released data set's word for thinking."""

FinishReason = Literal["stop", "length", "abort", "error"]

Status = Literal["ok", "no_answer", "ambiguous", "parse_error", "invalid_gold", "timeout", "error", "unsupported"]
UNSCORED: frozenset[str] = frozenset({"invalid_gold", "timeout", "error", "unsupported"})
"""Statuses whose reward is null: the grader failed, which says nothing about the completion."""

IMAGE_MARK = "<image>"
"""Stands in `problem` once for each image, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """An image that is not decoded yet. At least one of the two is set; `data` wins."""

    path: str | None = None
    """Absolute path, or the bare name of an embedded image."""
    data: bytes | None = None
    """The encoded file (PNG, JPEG, ...)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a reward rule may look at: the task and its gold answers, without pixels."""

    problem: str = ""
    answer: tuple[str, ...] = ()
    """Gold answers; any match counts."""
    answer_type: str = "any"
    problem_type: str = "general"
    prompt_type: PromptType = "thinking"
    source: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Options of the rule, for instance `{"bbox": {"scale": "norm1000"}}`; otherwise untouched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One task of a data set: images, a problem, its gold answers."""

    id: str
    images: tuple[ImageRef, ...] = ()
    question: Question
    format_guidance: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Unknown fields, passed through untouched."""

    def with_prompt_type(self, prompt_type: PromptType) -> "Sample":
        """Return the sample asked in another mode."""
        return replace(self, question=replace(self.question, prompt_type=prompt_type))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sampled reply. Written by rollout; carries its question, so that it can be scored alone."""

    sample_id: str
    k: int
    """Number within the group, from 0."""
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    """Tokens of the prompt after the processor expanded its images."""
    completion_tokens: int
    model: str
    policy_version: int
    """Oldest policy version that contributed a token; 0 for a model loaded from disk."""
    seed: int
    sampling: Mapping[str, Any]
    question: Question
    token_ids: tuple[int, ...] | None = None
    """[completion_tokens] sampled tokens, the stop token included."""
    logprobs: tuple[float, ...] | None = None
    """[completion_tokens] natural logarithms under the policy, before temperature and truncation."""

    @property
    def id(self) -> str:
        """Return `<sample_id>#<k>`."""
        return f"{self.sample_id}#{self.k}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a reward rule says of one completion."""

    reward: float | None
    """None exactly when `status` is in `UNSCORED`: a failure is never a number."""
    status: Status = "ok"
    components: Mapping[str, float] = field(default_factory=dict[str, float])
    """Named parts of the reward, before weights."""
    extracted: str | None = None
    """The answer that was found in the completion."""
    note: str | None = None
    """What went wrong, for a person."""

    def __post_init__(self) -> None:
        if (self.reward is None) != (self.status in UNSCORED):
            raise ValueError(f"reward {self.reward} does not go with status {self.status!r}")


def derive_seed(seed: int, *parts: object) -> int:
    """Return a 63-bit seed that depends on `seed` and `parts` alone, not on order or batch.

    The seed of completion k of sample s is `derive_seed(seed, s, k)`.
    """
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
