"""What rollout and training ask of an engine: completions for requests, and new weights while they are made.

    requests --> Engine.generate --> generations, each as soon as it is finished

The engine pulls the next request when it has room, so that nothing waits in a queue and grows old. A source with
nothing to start at the moment, because what it plans next depends on what is under way, gives None instead.
Nothing here knows where an engine runs: in this process, or behind a network.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ovrl.errors import UsageError
from ovrl.records import FinishReason
from ovrl.rollout.prompt import Prompt

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn.

    Raises:
        UsageError: a value that no distribution can be made of.
    """

    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Keep the likeliest tokens up to this mass; 1 keeps all."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    max_new_tokens: int = 1024
    stop: tuple[str, ...] = ()
    """A completion ends with the first token after which its text holds one of these; the text keeps it."""

    def __post_init__(self) -> None:
        good = {
            "temperature": math.isfinite(self.temperature) and self.temperature >= 0,
            "top_p": self.top_p >= 0,
            "top_k": self.top_k >= 0,
            "max_new_tokens": self.max_new_tokens >= 1,
            "stop": all(self.stop),
        }
        if bad := [name for name, fine in good.items() if not fine]:
            values = ", ".join(f"{name}={getattr(self, name)!r}" for name in bad)
            raise UsageError(f"sampling cannot be done with {values}")

    @property
    def distribution(self) -> tuple[float, float, int]:
        """What a token's distribution depends on, beside the policy: temperature, top_p, top_k."""
        return self.temperature, self.top_p, self.top_k


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One group: a prompt, and a seed for each completion that is wanted of it."""

    id: str
    prompt: Prompt
    seeds: Mapping[int, int]
    """Number within the group -> seed, not negative."""
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One finished completion of a request."""

    request_id: str
    k: int
    text: str
    token_ids: tuple[int, ...]
    """[T] sampled tokens, the stop token included."""
    logprobs: tuple[float, ...]
    """[T] natural logarithms under the policy, before temperature and truncation."""
    sampling_logprobs: tuple[float, ...]
    """[T] natural logarithms under the distribution that was drawn from, after temperature and truncation."""
    versions: tuple[int, ...]
    """[T] policy version that sampled each token, as the engine reports it."""
    finish_reason: FinishReason
    prompt_tokens: int
    """Tokens of the prompt, image tokens expanded."""
    untold_tokens: int = 0
    """Sampled tokens that the engine counts and does not tell: a model behind an API. The four [T] are then empty."""

    @property
    def completion_tokens(self) -> int:
        """How many tokens were sampled."""
        return len(self.token_ids) or self.untold_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that the engine cannot answer. The others go on."""

    request_id: str
    reason: str


class Engine(Protocol):
    """A sampler of completions. The contract test in `tests/rollout/test_engine_contract.py` says it all.

    `pause`, `resume`, `load` and `close` may be called from any thread while another one generates, and between
    two generations from the same one. They take effect between two tokens.
    """

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        ...

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        """Yield a generation for each seed of each request, or one refusal for the request, in any order.

        A completion depends on the weights, the prompt, the sampling and its seed: not on what is beside it.
        Closing the iterator drops what is not finished.

        Args:
            requests: pulled one at a time, when there is room. None says that there is nothing to start at the
                moment: the engine goes on with what it has, and pulls again before its next step with room. The
                source gives None only while some of its requests are unfinished, that is, while not all of their
                generations (or the refusal) were yielded and the next one asked for; otherwise it waits by itself
                until there is a request, or ends. So an engine with nothing under way may pull without a pause.

        Raises:
            OvrlError: the engine failed or was closed; what was yielded before is good.
        """
        ...

    def pause(self) -> None:
        """Sample nothing more until `resume`; when this returns, nothing is being sampled. Idempotent."""
        ...

    def resume(self) -> None:
        """Go on where `pause` stopped: no token is lost, none is sampled twice. Idempotent."""
        ...

    def load(self, weights: "Path | Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Take new weights, paused or not; every token sampled from now on carries `version`.

        Completions under way go on: what they have read is read again by the new weights, images too, so that each
        token is drawn as if its version had read all that stands before it.

        Args:
            weights: a model directory, or all tensors by name.
            version: of these weights.

        Raises:
            UsageError: they are not this model's; nothing has changed.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds; whoever is generating gets an error. Idempotent."""
        ...


def objection(request: Request) -> str | None:
    """Return why no engine can answer the request, or None."""
    parts = [part for message in request.prompt.messages for part in message["content"]]
    marks = sum(isinstance(part, dict) and part["type"] == "image" for part in parts)  # or letters, of plain text
    images = len(request.prompt.images)
    if marks != images:  # servers drop surplus images without a word
        return f"the prompt has {marks} places for images, and {images} images"
    if bad := [k for k, seed in request.seeds.items() if seed < 0]:
        return f"the seed of completion {bad[0]} is negative"
    return None
