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
from ovrl.train.controller import Controller


class EngineThread:
    """Asks the controller for groups when the engine has room, and gives it what the engine makes of them."""

    def __init__(
        self,
        engine: Engine,
        samples: Sequence[Sample],
        *,
        group_size: int,
        sampling: Sampling,
        max_pixels: int,
        seed: int,
    ) -> None:
        """Take an engine over.

        Args:
            engine: samples completions; closed by `stop`.
            samples: the prompts.
            group_size: completions of a group.
            sampling: how tokens are drawn.
            max_pixels: larger images are shrunk to this area.
            seed: of the run; that of a completion depends on it, its group and its number alone.
        """
        self._engine = engine
        self._samples = samples
        self._group_size = group_size
        self._sampling = sampling
        self._max_pixels = max_pixels
        self._seed = seed
        self._thread = ThreadPoolExecutor(1, "ovrl-engine")
        self._room = threading.Event()
        self._left: dict[str, int] = {}
        """Completions of each group that the engine still owes."""
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
                self._tell(self._controller.refuse, int(name), RecordError("problem", generation.reason))
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
                if (request := self._request(*plan)) is not None:
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

    def _request(self, gid: int, row: int) -> Request | None:
        try:
            built = prompt.build(self._samples[row], max_pixels=self._max_pixels)
        except RecordError as error:
            self._tell(self._controller.refuse, gid, error)
            return None
        self._left[str(gid)] = self._group_size
        return Request(
            id=str(gid),
            prompt=built,
            seeds={k: derive_seed(self._seed, gid, k) for k in range(self._group_size)},
            sampling=self._sampling,
        )

    def _tell(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)
