"""What rollout and training ask of an engine: completions for requests, and new weights.

    requests --> Engine.generate --> generations, each as soon as it is finished

The engine pulls the next request when it has room, so that nothing waits in a queue and grows old.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ovrl.records import FinishReason
from ovrl.rollout.prompt import Prompt

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. Temperature 0 takes the likeliest token."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    max_new_tokens: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One group: a prompt, and a seed for each completion that is wanted of it."""

    id: str
    prompt: Prompt
    seeds: Mapping[int, int]
    """Number within the group -> seed."""
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
    versions: tuple[int, ...] = field(default=())
    """[T] policy version that sampled each token, as the engine reports it."""
    finish_reason: FinishReason
    prompt_tokens: int
    """Tokens of the prompt, image tokens expanded."""


class Engine(Protocol):
    """A sampler of completions. The contract test in `tests/rollout/test_engine_contract.py` says it all."""

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        ...

    def generate(self, requests: Iterable[Request]) -> Iterator[Generation]:
        """Yield a generation for each seed of each request, in any order.

        Raises:
            OvrlError: the engine failed; what was yielded before is good.
        """
        ...

    def load(self, weights: "Path | Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Take new weights; every token sampled from now on carries `version`."""
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...
