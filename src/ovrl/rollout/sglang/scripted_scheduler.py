"""What runs inside of the scripted server: requests that wait, that run side by side, that are retracted.

It keeps to what sglang's scheduler does (`managers/scheduler.py`), so far as a client can see it: what a pause does
to a request in each mode, which caches an update leaves stale, how versions are told.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovrl.rollout.sglang.scripted_model import Vocabulary, digest_of, draw, seen

_TAIL = 16
"""Tokens that are searched for a stop string."""


@dataclass(slots=True, eq=False)
class Asked:
    """One request inside of the server."""

    rid: str
    input_ids: list[int]
    images: list[tuple[str, str]]
    """Of each: its content, and the name that it is cached under."""
    expanded: int
    """Tokens of the prompt, image tokens expanded."""
    parameters: dict[str, Any]
    namespace: str = ""
    """Keeps prefixes apart in the cache (`extra_key`)."""
    output_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    spans: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """(name of the weights, tokens at which they ended)."""
    finish: dict[str, Any] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    retractions: int = 0
    digest: Any = None
    """Of all tokens so far; None until the prompt is read."""
    read_by: str = ""
    eyes: list[str] = field(default_factory=list[str])


class Scheduler:
    """Gives every running request a token, step by step."""

    def __init__(
        self, words: Vocabulary, weights: str, *, most: int, step: Callable[[], Any], caches_images: bool
    ) -> None:
        """Start empty.

        Args:
            words: the vocabulary.
            weights: fingerprint of those that are there from the beginning.
            most: requests that run at once.
            step: awaited before each step.
            caches_images: whether what was made of an image is kept, whatever happens to the weights.
        """
        self.words = words
        self.weights = weights
        self.label = "default"
        self.caches_images = caches_images
        self.waiting: list[Asked] = []
        self.running: list[Asked] = []
        self.paused = False
        self._most = most
        self._step = step
        self._wake = asyncio.Event()
        self._cached_images: dict[str, str] = {}
        self._prefixes_by = weights
        """Who read the prefixes in the cache: not who samples now, if it was not flushed after an update."""

    def submit(self, asked: Asked) -> None:
        """Take a request."""
        self.waiting.append(asked)
        self._wake.set()

    def abort(self, rid: str | None) -> None:
        """End one request, or all."""
        for asked in [*self.waiting, *self.running]:
            if rid in (None, asked.rid):
                self._finish(asked, {"type": "abort", "message": "Aborted", "status_code": None, "err_type": None})
        self._sweep()

    def pause(self, mode: str) -> None:
        """Sample nothing more until `resume`."""
        self.paused = True
        if mode == "abort":
            self.abort(None)
        elif mode == "retract":
            for asked in self.running:
                asked.digest, asked.retractions = None, asked.retractions + 1
            self.waiting[:0], self.running = self.running, []

    def resume(self) -> None:
        """Sample on."""
        self.paused = False
        self._wake.set()

    def update(self, weights: str, label: str | None, *, flush: bool) -> None:
        """Take other weights."""
        self.weights = weights
        if label is not None:
            self.relabel(label)
        if flush:
            self.flush()

    def relabel(self, label: str) -> None:
        """Name the weights; tokens so far keep the old name."""
        for asked in [*self.waiting, *self.running]:
            if asked.output_ids:
                asked.spans.append((self.label, len(asked.output_ids)))
        self.label = label

    def flush(self) -> bool:
        """Forget prefixes, and not images; return False if requests are in the way."""
        if self.running:
            return False
        self._prefixes_by = self.weights
        return True

    async def run(self) -> None:
        """Make steps for ever."""
        while True:
            while self.paused or not (self.waiting or self.running):
                self._wake.clear()
                await self._wake.wait()
            await self._step()
            if self.paused:
                continue
            while self.waiting and len(self.running) < self._most:
                self.running.append(self.waiting.pop(0))
            for asked in self.running:
                self._sample(asked)
            self._sweep()

    def _sample(self, asked: Asked) -> None:
        if asked.digest is None:
            asked.digest = digest_of([*asked.input_ids, *asked.output_ids])
            asked.read_by = self._prefixes_by
            asked.eyes = [self._look(content, name) for content, name in asked.images]
        p = asked.parameters
        banned = p["banned"]
        token, logprob = draw(
            self.weights, asked.read_by, asked.eyes, asked.digest.digest(), p["sampling_seed"], self.words, banned
        )
        asked.digest.update(struct.pack("<I", token))
        asked.output_ids.append(token)
        asked.logprobs.append(logprob)
        stops: Sequence[str] = p["stop"]
        tail = self.words.decode(asked.output_ids[-_TAIL:]) if stops else ""
        if token in p["stop_token_ids"]:
            self._finish(asked, {"type": "stop", "matched": token})
        elif matched := [stop for stop in stops if stop in tail]:
            self._finish(asked, {"type": "stop", "matched": matched[0]})
        elif len(asked.output_ids) >= p["max_new_tokens"]:
            self._finish(asked, {"type": "length", "length": len(asked.output_ids)})
        elif len(asked.output_ids) % p["stream_interval"] == 0:
            asked.changed.set()

    def _look(self, content: str, name: str) -> str:
        if not self.caches_images:
            return seen(self.weights, content)
        return self._cached_images.setdefault(name, seen(self.weights, content))

    def _finish(self, asked: Asked, finish: dict[str, Any]) -> None:
        asked.finish = finish
        asked.spans.append((self.label, len(asked.output_ids)))
        asked.changed.set()

    def _sweep(self) -> None:
        self.waiting = [asked for asked in self.waiting if asked.finish is None]
        self.running = [asked for asked in self.running if asked.finish is None]
