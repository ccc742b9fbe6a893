"""A scripted engine: replies from a function, without a model. For tests, dry runs and `--engine fake`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovrl.errors import OvrlError
from ovrl.records import FinishReason
from ovrl.rollout.engine import Generation, Refusal, Request, objection
from ovrl.rollout.gate import Gate
from ovrl.rollout.source import Source

if TYPE_CHECKING:
    from torch import Tensor

    from ovrl.rollout.settings import EngineSettings

Script = Callable[[Request, int, int], str]
"""(request, k, seed) -> reply."""


@dataclass(slots=True)
class _Reply:
    """A reply that is being given."""

    request: Request
    k: int
    tokens: bytes
    """What is left to give."""
    given: bytearray = field(default_factory=bytearray)
    versions: list[int] = field(default_factory=list[int])
    finish_reason: FinishReason | None = None

    def step(self, version: int) -> None:
        """Give the next token."""
        self.given.append(self.tokens[len(self.given)])
        self.versions.append(version)
        sampling = self.request.sampling
        if self.given[-1] == 0 or any(self.given.endswith(stop.encode()) for stop in sampling.stop):
            self.finish_reason = "stop"
        elif len(self.given) == sampling.max_new_tokens:
            self.finish_reason = "length"

    def generation(self) -> Generation:
        """Return what was given."""
        assert self.finish_reason is not None
        parts = [part for message in self.request.prompt.messages for part in message["content"]]
        zeros = (0.0,) * len(self.given)  # the script leaves nothing to chance
        return Generation(
            request_id=self.request.id,
            k=self.k,
            text=bytes(token for token in self.given if token).decode(errors="replace"),
            token_ids=tuple(self.given),
            logprobs=zeros,
            sampling_logprobs=zeros,
            versions=tuple(self.versions),
            finish_reason=self.finish_reason,
            prompt_tokens=sum(len(part.get("text", "")) for part in parts),
        )


class ScriptedEngine:
    """A token is a byte of the reply, and byte 0 is the stop token; a step gives one of them."""

    def __init__(self, script: Script, *, batch_size: int = 1, fail_after: int | None = None) -> None:
        """Make the engine.

        Args:
            script: gives the reply.
            batch_size: replies that are given side by side, a token of each in turn.
            fail_after: raise when so many generations were made: a dying server.
        """
        self._script = script
        self._batch_size = batch_size
        self._fail_after = fail_after
        self._version = 0
        self._gate = Gate()

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._version

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        """Yield the scripted reply for each seed; see `Engine.generate`."""
        made = 0
        source, waiting = Source(requests), iter(())
        under_way: list[_Reply] = []
        while True:
            while len(under_way) < self._batch_size:
                if (reply := next(waiting, None)) is not None:
                    under_way.append(reply)
                elif (request := source.pull()) is None:
                    break
                elif reason := objection(request):
                    yield Refusal(request_id=request.id, reason=reason)
                else:
                    waiting = self._replies(request)
            if not under_way:
                if source.ended:
                    return
                continue
            with self._gate.step():
                for reply in under_way:
                    reply.step(self._version)
            finished = [reply for reply in under_way if reply.finish_reason is not None]
            under_way = [reply for reply in under_way if reply.finish_reason is None]
            for reply in finished:
                if made == self._fail_after:
                    raise OvrlError(f"the scripted engine stopped after {made} completions, as told")
                made += 1
                yield reply.generation()

    def _replies(self, request: Request) -> Iterator[_Reply]:
        for k, seed in request.seeds.items():
            yield _Reply(request, k, self._script(request, k, seed).encode() + b"\0")

    def pause(self) -> None:
        """Let no step follow; see `Engine.pause`."""
        self._gate.pause()

    def resume(self) -> None:
        """Let steps follow again."""
        self._gate.resume()

    def load(self, weights: "Path | Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Count the version; a script has no weights."""
        del weights
        with self._gate.held():
            self._version = version

    def close(self) -> None:
        """Stop whoever generates."""
        self._gate.close()


def load_engine(model: str, settings: "EngineSettings") -> ScriptedEngine:
    """Return an engine that always gives `model` as its answer: `--engine fake --model B`."""
    del settings
    return ScriptedEngine(lambda request, k, seed: f"<answer>{model}</answer>")
