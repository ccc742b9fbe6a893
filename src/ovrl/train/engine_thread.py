"""Drives an engine, which is pulled from and waits, in a thread of its own, for the event loop, which must not wait."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ovrl.errors import OvrlError, RecordError
from ovrl.records import Sample, derive_seed
from ovrl.rollout import prompt
from ovrl.rollout.engine import Engine, Refusal, Request, Sampling
from ovrl.rollout.prompt import Prompt
from ovrl.train.controller import Controller, group_of

Ask = Callable[[int, Sample, Prompt, int], Sequence[Request]]
"""(group, sample, prompt, policy version) -> requests, named `group` or `group/part`, one seed for each completion."""


def whole(group_size: int, sampling: Sampling, seed: int) -> Ask:
    """Return what asks for a group in one request; a seed depends on run, group and number alone."""

    def ask(gid: int, sample: Sample, built: Prompt, version: int) -> Sequence[Request]:
        del sample, version
        seeds = {k: derive_seed(seed, gid, k) for k in range(group_size)}
        return (Request(id=str(gid), prompt=built, seeds=seeds, sampling=sampling),)

    return ask


class EngineThread:
    """Asks the controller for groups when the engine has room, and gives it what the engine makes of them."""

    def __init__(self, engine: Engine, samples: Sequence[Sample], ask: Ask, max_pixels: int) -> None:
        """Take an engine over.

        Args:
            engine: samples completions; closed by `stop`.
            samples: the prompts.
            ask: makes the requests of a group.
            max_pixels: larger images are shrunk to this area.
        """
        self._engine = engine
        self._samples = samples
        self._ask = ask
        self._max_pixels = max_pixels
        self._thread = ThreadPoolExecutor(1, "ovrl-engine")
        self._room = threading.Event()
        self._left: dict[str, int] = {}
        """Completions of each request that the engine still owes."""
        self._is_hungry = False
        self._is_stopping = False

    async def run(self, controller: Controller) -> None:
        """Generate until `stop`; see `loop.Rollouts`."""
        self._controller = controller
        self._loop = asyncio.get_running_loop()
        controller.on_room = self._room.set
        try:
            await self._loop.run_in_executor(self._thread, self._generate)
        except OvrlError:
            if not self._is_stopping:  # otherwise it says that it was closed, which is what we did
                raise

    async def stop(self) -> None:
        """Close the engine, and wait for the thread."""
        self._is_stopping = True
        self._room.set()
        await asyncio.get_running_loop().run_in_executor(None, self._engine.close)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _generate(self) -> None:
        for generation in self._engine.generate(self._requests()):
            name = generation.request_id
            if isinstance(generation, Refusal):
                del self._left[name]
                self._tell(self._controller.refuse, group_of(name), RecordError("problem", generation.reason))
                continue
            self._left[name] -= 1
            if not self._left[name]:
                del self._left[name]
            self._tell(self._controller.sampled, generation)

    def _requests(self) -> Iterator[Request | None]:
        """Yield what the engine is to start, None where there is nothing while some of it is unfinished."""
        while not self._is_stopping:
            self._room.clear()  # before looking: what comes later wakes us again
            plan = self._pull()
            if plan is not None:
                for request in self._asked(*plan):
                    self._left[request.id] = len(request.seeds)
                    yield request
            elif self._left:
                yield None
            elif not self._is_stopping:
                self._room.wait()

    def _pull(self) -> tuple[int, int] | None:
        if self._controller.may_start:  # otherwise the event loop need not be asked, at each token that is sampled
            self._is_hungry = False
            answer: Future[tuple[int, int] | None] = Future()
            self._tell(lambda: answer.set_result(self._controller.pull()))
            return answer.result()
        if not self._is_hungry:
            self._is_hungry = True
            self._tell(self._controller.wait)
        return None

    def _asked(self, gid: int, row: int) -> Sequence[Request]:
        """Return the requests of a group; none when its prompt cannot be built."""
        sample = self._samples[row]
        try:
            built = prompt.build(sample, max_pixels=self._max_pixels)
        except RecordError as error:
            self._tell(self._controller.refuse, gid, error)
            return ()
        return self._ask(gid, sample, built, self._engine.version)

    def _tell(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)
