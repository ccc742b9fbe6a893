"""Worker processes with a time limit on every completion: one that hangs or dies costs its own verdict, no other.

A worker tells in shared memory what it judges and since when, so that watching it costs nothing. One that
is too slow is killed; what it had finished but not sent is done again, by a new one.
"""

import contextlib
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ovrl.errors import OvrlError
from ovrl.records import Score
from ovrl.reward.batch import WHOLE, Batch, Duty, Part
from ovrl.reward.clock import PROGRESS
from ovrl.reward.process import Process, start

_START_ALLOWANCE = 60.0
"""Seconds that a worker may take outside of judging: to start, and to import a rule's libraries on a busy machine."""

_LONGEST_WAIT = 3600.0
"""Seconds in one wait; `poll` cannot count for ever, whatever the time limit is."""

_MOST_STILLBORN = 2
"""Workers that may end before one has answered anything: what is wrong with them is wrong with all."""
_MOST_KILLED = 20
"""Workers that may be killed before one has answered anything: by a person, or for want of memory."""


@dataclass(slots=True)
class _Worker:
    process: Process
    batch: Batch | None = None
    number: int = -1
    """Of the batch."""
    done: int = 0
    """Items of the batch that are answered."""
    heard_at: float = field(default_factory=time.monotonic)


class Fleet:
    """Workers that live as long as the fleet, one batch each at a time."""

    def __init__(self, duty: Duty) -> None:
        """Take what the workers are to do; they are started when there is work for them."""
        self._duty = duty
        self._has_answered = False
        self._stillborn = 0
        self._workers: list[_Worker] = []

    @property
    def is_free(self) -> bool:
        """Whether a batch can be given."""
        return self._busy < self._duty.workers

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._busy > 0

    @property
    def _busy(self) -> int:
        return sum(worker.batch is not None for worker in self._workers)

    def start(self) -> None:
        """Start a worker before there is work, so that it can import in the meantime."""
        if len(self._workers) < self._duty.workers:
            self._workers.append(self._fresh())

    def give(self, number: int, batch: Batch) -> None:
        """Hand a batch to an idle worker."""
        for worker in [
            worker for worker in self._workers if worker.batch is None and worker.process.process.poll() is not None
        ]:
            self._workers.remove(worker)  # died while it was idle
            worker.process.end()
        if all(worker.batch is not None for worker in self._workers):
            self.start()
        worker = next(worker for worker in self._workers if worker.batch is None)
        self._hand(worker, number, batch)

    def wait(self, *others: int) -> Iterator[tuple[int, Part]]:
        """Wait for answers, an expiry, or one of the other descriptors to be readable; yield what has come.

        Args:
            others: file descriptors to watch besides.

        Yields:
            The number of a batch, and the answer to its next items.
        """
        busy = {worker.process.channel.fileno(): worker for worker in self._workers if worker.batch is not None}
        poll = select.poll()
        for descriptor in (*busy, *others):
            poll.register(descriptor, select.POLLIN)
        timeout = None
        if busy:  # a completion that begins while we wait is late after the time limit, and not before
            earliest = min(
                self._deadline(worker, PROGRESS.unpack_from(worker.process.progress)) for worker in busy.values()
            )
            timeout = 1000 * min(max(0.0, earliest - time.monotonic()), self._duty.timeout, _LONGEST_WAIT)
        for descriptor, _ in poll.poll(timeout):
            if worker := busy.pop(descriptor, None):
                yield from self._receive(worker)
        for worker in busy.values():
            seen = PROGRESS.unpack_from(worker.process.progress)
            if time.monotonic() >= self._deadline(worker, seen):
                late = Score(reward=None, status="timeout", note=f"no verdict within {self._duty.timeout:g} s")
                self._replace(worker, late, seen)  # what was seen is late, and not what is judged when it is killed

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.process.end()
        self._workers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fresh(self) -> _Worker:
        worker = _Worker(start())
        with contextlib.suppress(OSError):  # `wait` sees that it has died
            worker.process.channel.send(self._duty)
        return worker

    def _hand(self, worker: _Worker, number: int, batch: Batch) -> None:
        worker.batch, worker.number, worker.done, worker.heard_at = batch, number, 0, time.monotonic()
        with contextlib.suppress(OSError):  # it has just died: its end of the pipe is closed, which `wait` sees
            worker.process.channel.send(batch)

    def _receive(self, worker: _Worker) -> Iterator[tuple[int, Part]]:
        try:
            part: Part = worker.process.channel.recv()
        except (EOFError, OSError):
            code = worker.process.process.wait()
            died = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            failure = Score(reward=None, status="error", note=f"the worker died ({died})")
            self._replace(worker, failure, PROGRESS.unpack_from(worker.process.progress))
            return
        self._has_answered = True
        worker.done += part.done
        worker.heard_at = time.monotonic()
        if part.is_last:
            worker.batch = None
        yield worker.number, part

    def _deadline(self, worker: _Worker, progress: tuple[Any, ...]) -> float:
        *_, begun = progress
        return begun + self._duty.timeout if begun else worker.heard_at + _START_ALLOWANCE

    def _replace(self, worker: _Worker, failure: Score, progress: tuple[Any, ...]) -> None:
        """End the worker, and give a new one what is left of its batch, where one completion has failed.

        Args:
            worker: that hangs or has died.
            failure: what the completion gets.
            progress: the worker's, which tells the completion.
        """
        worker.process.end()
        item, completion, _ = progress
        place = (item, completion) if item >= worker.done else (worker.done, WHOLE)  # it never came to judge
        assert worker.batch is not None
        if failure.status == "error" and item < 0 and not self._has_answered:
            self._stillborn += 1
            was_killed = (worker.process.process.returncode or 0) < 0
            if self._stillborn > (_MOST_KILLED if was_killed else _MOST_STILLBORN):
                raise OvrlError(f"the processes that score do not start: {failure.note}; what they say stands above")
        while place in worker.batch.failures:  # then it is not that one which takes workers down
            place = (place[0], WHOLE) if place[1] != WHOLE else (place[0] + 1, WHOLE)
        batch = worker.batch.rest(worker.done, place, failure)
        fresh = self._fresh()
        self._workers[self._workers.index(worker)] = fresh
        self._hand(fresh, worker.number, batch)
