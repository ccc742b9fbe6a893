"""The training loop in virtual time: an engine and a trainer that only take time, on a clock that jumps.

A run of hours takes seconds, and everything but engine, learner and clock is what runs in production.
"""

import asyncio
import heapq
import math
import selectors
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

from ovrl.errors import OvrlError
from ovrl.records import Question, Score, derive_seed
from ovrl.rollout.engine import Generation
from ovrl.train.controller import Controller
from ovrl.train.trajectory import Group


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: where nothing is ready, the time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise OvrlError(f"at {self.now:.3f} s of virtual time everybody waits, and nothing will ever happen")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer. Nothing on it may wait for a thread."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time in seconds, from 0."""
        return self._clock.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is sampled and what it costs, in decoding steps; the defaults are W128 of `benchmarks/async.py`."""

    groups: int = 32
    group_size: int = 16
    slots: int = 128
    mean: float = 600.0
    """Tokens of a completion, before the cap."""
    log_sd: float = 0.8
    """Of the lognormal lengths; 0: all have the mean."""
    cap: int = 4096
    train_ratio: float = 1.0
    """R: training time of a step in units of `work`."""
    publish_ratio: float = 0.05
    """Omega: time in which new weights are handed over and nothing is sampled, in units of `work`."""
    seed: int = 0

    def length(self, gid: int, k: int) -> int:
        """Return the tokens of a completion; a pure function of the seed."""
        if not self.log_sd:
            return min(self.cap, round(self.mean))
        chance = (derive_seed(self.seed, gid, k) + 0.5) / 2.0**63
        normal = NormalDist(math.log(self.mean) - self.log_sd**2 / 2, self.log_sd)
        return max(1, min(self.cap, round(math.exp(normal.inv_cdf(chance)))))

    @property
    def work(self) -> float:
        """G: decoding steps that a batch takes when all slots are busy."""
        tokens = [self.length(gid, k) for gid in range(-64, 0) for k in range(self.group_size)]
        return self.groups * self.group_size * sum(tokens) / len(tokens) / self.slots


@dataclass(slots=True)
class _Row:
    """A completion that decodes."""

    name: str
    k: int
    length: int
    begun: float
    """Decoding steps of the engine before its first token."""
    segments: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(version, tokens) of what was sampled by earlier versions."""

    def close(self, version: int, given: int) -> None:
        """Note that all tokens up to `given` that no earlier version has sampled are of this one."""
        self.segments.append((version, given - sum(tokens for _, tokens in self.segments)))


class Slots:
    """What an engine decodes side by side; each row gets a token in each decoding step. Knows no clock."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._rows: list[tuple[float, str, int, _Row]] = []
        """Heap by the decoding step at which they end."""
        self.version = 0

    @property
    def free(self) -> int:
        """Slots without a row."""
        return self._workload.slots - len(self._rows)

    @property
    def next_end(self) -> float | None:
        """The decoding step at which the next row ends."""
        return self._rows[0][0] if self._rows else None

    def enter(self, name: str, k: int, step: float) -> None:
        """Begin completion k of request `name`, the number of a group, at a decoding step."""
        row = _Row(name, k, self._workload.length(int(name), k), step)
        heapq.heappush(self._rows, (step + row.length, name, k, row))

    def ended(self, step: float) -> Iterator[Generation]:
        """Yield what has ended by a decoding step."""
        while self._rows and self._rows[0][0] <= step + 1e-6:
            row = heapq.heappop(self._rows)[3]
            row.close(self.version, row.length)
            zeros = (0.0,) * row.length
            yield Generation(
                request_id=row.name,
                k=row.k,
                text="",
                token_ids=(0,) * row.length,
                logprobs=zeros,
                sampling_logprobs=zeros,
                versions=tuple(version for version, tokens in row.segments for version in (version,) * tokens),
                finish_reason="length" if row.length == self._workload.cap else "stop",
                prompt_tokens=0,
            )

    def load(self, version: int, step: float) -> None:
        """Have the tokens from a decoding step on sampled by new weights."""
        for _, _, _, row in self._rows:
            row.close(self.version, min(row.length, math.ceil(step - row.begun)))
        self.version = version


class VirtualRollouts:
    """`loop.Rollouts` of an engine that makes a decoding step in each second of virtual time."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._slots = Slots(workload)
        self._queue: deque[tuple[int, int]] = deque()
        self._done = 0.0
        """Decoding steps so far."""
        self._since = 0.0
        self._is_paused = False
        self._timer: asyncio.Handle | None = None

    async def run(self, controller: Controller) -> None:
        """Generate until `stop`."""
        self._controller = controller
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._ended = self._loop.create_future()
        controller.on_room = self._soon
        self._soon()
        await self._ended

    async def stop(self) -> None:
        """Drop what is under way."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._ended.done():
            self._ended.set_result(None)

    async def load(self, version: int, seconds: float) -> None:
        """Take new weights; nothing is sampled for so many seconds."""
        self._advance()
        self._is_paused = True
        await asyncio.sleep(seconds)
        self._slots.load(version, self._done)
        self._is_paused = False
        self._since = self._loop.time()
        self._soon()

    def _advance(self) -> None:
        now = self._loop.time()
        if not self._is_paused:
            self._done += now - self._since
        self._since = now

    def _soon(self) -> None:
        if self._timer is None or isinstance(self._timer, asyncio.TimerHandle):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_soon(self._step)

    def _step(self) -> None:
        """Give what is finished, and fill the slots that are free."""
        self._timer = None
        if self._is_paused:
            return
        self._advance()
        for generation in self._slots.ended(self._done):
            self._controller.sampled(generation)
        while self._slots.free and (self._queue or self._pull()):
            gid, k = self._queue.popleft()
            self._slots.enter(str(gid), k, self._done)
        if self._timer is None and (end := self._slots.next_end) is not None:
            self._timer = self._loop.call_later(end - self._done, self._step)

    def _pull(self) -> bool:
        plan = self._controller.pull()
        if plan is not None:
            self._queue.extend((plan[0], k) for k in range(self._workload.group_size))
        return plan is not None


class VirtualTrainer:
    """`loop.Trainer` that takes its time and learns nothing."""

    def __init__(self, workload: Workload, rollouts: VirtualRollouts) -> None:
        self._work = workload.work
        self._workload = workload
        self._rollouts = rollouts

    async def step(self, groups: Sequence[Group], number: int) -> dict[str, Any]:
        """Wait for as long as training takes."""
        del number
        await asyncio.sleep(self._workload.train_ratio * self._work)
        return {"tokens_trained": sum(len(t.token_ids) for group in groups for t in group.trajectories)}

    async def publish(self, version: int) -> None:
        """Stop the engine for as long as that takes."""
        await self._rollouts.load(version, self._workload.publish_ratio * self._work)

    async def save(self, version: int, progress: dict[str, Any]) -> None:
        """Save nothing."""

    async def snapshot(self, path: Path) -> None:
        """Write nothing."""


class InstantScorer:
    """A scorer that answers at once: every other completion is right."""

    def __init__(self, reward: Callable[[str], float] | None = None) -> None:
        self._reward = reward
        self._count = 0

    def submit(self, question: Question, completion: str) -> Future[Any]:
        """Return a verdict that is there already."""
        del question
        self._count += 1
        value = self._reward(completion) if self._reward else float(self._count % 2)
        future: Future[Any] = Future()
        future.set_result(SimpleNamespace(verdict=SimpleNamespace(score=Score(reward=value))))
        return future
