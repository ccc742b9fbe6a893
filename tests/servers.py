"""Scripted SGLang servers, and engines that sample with them, for tests."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovrl.rollout.engine import Generation, Refusal, Request
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.control import Limits
from ovrl.rollout.sglang.engine import SGLangEngine
from ovrl.rollout.sglang.scripted_server import ScriptedServer
from ovrl.rollout.sglang.scripted_traits import Kind, Traits

LIMITS = Limits(control_s=30, update_s=30, stall_s=30, watch_s=0.05, patience_s=30)
"""Nothing waits for long when something is wrong; nothing here depends on how long anything takes."""


def load_processor(model: Path) -> PromptProcessor:
    """Return the processor of a tiny model for which every tenth word ends a reply."""
    processor = PromptProcessor.load(str(model))
    words = processor.tokenizer.convert_tokens_to_ids
    processor.eos_ids |= set(range(0, words("<|endoftext|>"), 10))
    return processor


@contextmanager
def serving(
    model: Path,
    processor: PromptProcessor,
    *traits: Traits,
    script: Callable[[int], Kind | None] = lambda number: None,
    **more: Any,
) -> Iterator[list[ScriptedServer]]:
    """Start a server of each kind; the first of them follows the script."""
    scripts = [script, *[lambda number: None] * len(traits)]
    servers = [
        ScriptedServer(model, processor, each, script=follows, **more).start()
        for each, follows in zip(traits, scripts, strict=False)
    ]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


@contextmanager
def sampling(
    servers: Iterable[ScriptedServer], processor: PromptProcessor, *, limits: Limits = LIMITS, **more: Any
) -> Iterator[SGLangEngine]:
    """Make an engine for servers."""
    engine = SGLangEngine([server.url for server in servers], processor, limits=limits, **more)
    try:
        yield engine
    finally:
        engine.close()


class PacedEngine(SGLangEngine):
    """Its server makes tokens only while somebody waits for a completion, and at least one before he gets it.

    So what is changed between two completions is changed in the middle of the others, on any machine.
    """

    def __init__(self, server: ScriptedServer, pace: "Pace", *args: Any, **more: Any) -> None:
        self.server, self._pace = server, pace
        super().__init__([server.url], *args, **more)
        pace.wanted.clear()

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        made = super().generate(requests)
        while True:
            before = self._pace.steps
            self._pace.wanted.set()
            try:
                one = next(made, None)
                while self._pace.steps == before and self.server.scheduler.running:
                    time.sleep(0.0005)
            finally:
                self._pace.wanted.clear()
            if one is None:
                return
            yield one

    def _start(self, job: Any, request: Request) -> Iterator[Refusal]:
        self._pace.wanted.clear()  # encoding takes as long as a reply
        yield from super()._start(job, request)
        self._pace.wanted.set()


class Pace:
    """When a server may step, and how often it did."""

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.wanted.set()
        self.steps = 0

    async def step(self) -> None:
        while not self.wanted.is_set():
            await asyncio.sleep(0.0005)
        await asyncio.sleep(0.0005)
        self.steps += 1


@contextmanager
def paced_engine(
    model: Path, processor: PromptProcessor, *, traits: Traits | None = None, limits: Limits = LIMITS, weights_dir: Path
) -> Iterator[PacedEngine]:
    """Start a server and make an engine for it."""
    pace = Pace()
    with serving(model, processor, traits or Traits(), step=pace.step) as (server,):
        engine = PacedEngine(server, pace, processor, limits=limits, weights_dir=weights_dir)
        try:
            yield engine
        finally:
            engine.close()
