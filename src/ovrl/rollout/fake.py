"""A scripted engine: replies from a function, without a model. For tests, dry runs and `--engine fake`."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ovrl.errors import OvrlError
from ovrl.records import FinishReason
from ovrl.rollout.engine import Generation, Request

if TYPE_CHECKING:
    from torch import Tensor

    from ovrl.rollout.settings import EngineSettings

Script = Callable[[Request, int, int], str]
"""(request, k, seed) -> reply."""


class ScriptedEngine:
    """Answers at once. A token is a byte of the reply, and byte 0 is the stop token."""

    def __init__(self, script: Script, *, fail_after: int | None = None) -> None:
        """Make the engine.

        Args:
            script: gives the reply.
            fail_after: raise when so many generations were made: a dying server.
        """
        self._script = script
        self._fail_after = fail_after
        self._version = 0

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._version

    def generate(self, requests: Iterable[Request]) -> Iterator[Generation]:
        """Yield the scripted reply for each seed; see `Engine.generate`."""
        made = 0
        for request in requests:
            for k, seed in request.seeds.items():
                if made == self._fail_after:
                    raise OvrlError(f"the scripted engine stopped after {made} completions, as told")
                made += 1
                yield self._reply(request, k, seed)

    def _reply(self, request: Request, k: int, seed: int) -> Generation:
        limit = request.sampling.max_new_tokens
        tokens = [*self._script(request, k, seed).encode(), 0]
        finish: FinishReason = "stop" if len(tokens) <= limit else "length"
        kept = tokens[:limit]
        return Generation(
            request_id=request.id,
            k=k,
            text=bytes(token for token in kept if token).decode(errors="replace"),
            token_ids=tuple(kept),
            logprobs=(0.0,) * len(kept),  # the script leaves nothing to chance
            versions=(self._version,) * len(kept),
            finish_reason=finish,
            prompt_tokens=sum(
                len(part.get("text", "")) for message in request.prompt.messages for part in message["content"]
            ),
        )

    def load(self, weights: "Path | Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Count the version; a script has no weights."""
        del weights
        self._version = version

    def close(self) -> None:
        """Nothing is held."""


def load_engine(model: str, settings: "EngineSettings") -> ScriptedEngine:
    """Return an engine that always gives `model` as its answer: `--engine fake --model B`."""
    del settings
    return ScriptedEngine(lambda request, k, seed: f"<answer>{model}</answer>")
