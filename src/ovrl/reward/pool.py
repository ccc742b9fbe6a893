"""Judge in worker processes that can be killed: a completion that hangs costs its time limit, no more."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from ovrl.records import Question, Score, Status
from ovrl.reward.judge import Verdict
from ovrl.reward.settings import ScoreSettings
from ovrl.reward.worker import STARTED

log = logging.getLogger(__name__)

_START_ALLOWANCE = 60.0
"""Seconds in which a worker must begin: a fresh one imports its libraries first, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A verdict and what it cost."""

    verdict: Verdict
    elapsed_ms: float


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    task: int | None = None
    deadline: float = 0.0


class ScorePool:
    """Workers that live as long as the pool and judge one completion each at a time."""

    def __init__(self, settings: ScoreSettings) -> None:
        self._settings = settings
        self._workers: list[_Worker] = []

    def judge(self, items: Iterable[tuple[Question, str]]) -> Iterator[Timed]:
        """Yield a verdict for each (question, completion), in their order.

        A completion that exceeds the time limit gets `timeout`, one that takes its worker down `error`;
        both have a null reward, and the next one finds a new worker.
        """
        source = enumerate(items)
        ready: dict[int, Timed] = {}
        exhausted, sent, given = False, 0, 0
        while not exhausted or given < sent:
            while not exhausted and sent - given < 64 * self._settings.workers and (idle := self._idle()):
                try:
                    number, item = next(source)
                except StopIteration:
                    exhausted = True
                    break
                self._give(idle, number, item)
                sent += 1
            ready.update(self._collect())
            while given in ready:
                yield ready.pop(given)
                given += 1

    def _idle(self) -> _Worker | None:
        for worker in self._workers:
            if worker.task is None:
                return worker
        if len(self._workers) < self._settings.workers:
            self._workers.append(self._start())
            return self._workers[-1]
        return None

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        rule = [self._settings.reward] if self._settings.reward else []
        command = [
            sys.executable,
            "-m",
            "ovrl.reward.worker",
            str(theirs.fileno()),
            self._settings.mode,
            *rule,
        ]
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for us: a worker that is still importing would answer with a traceback
        )
        theirs.close()
        return _Worker(process, Connection(ours.detach()))

    def _give(self, worker: _Worker, number: int, item: tuple[Question, str]) -> None:
        worker.task, worker.deadline = number, time.monotonic() + _START_ALLOWANCE
        try:
            worker.connection.send(item)
        except OSError:  # it died while idle; _collect sees the closed pipe and replaces it
            log.debug("worker %d is gone", worker.process.pid)

    def _collect(self) -> dict[int, Timed]:
        """Return what has arrived, after waiting for the first answer or the first expiry."""
        busy = {worker.connection: worker for worker in self._workers if worker.task is not None}
        if not busy:
            return {}
        patience = max(0.0, min(worker.deadline for worker in busy.values()) - time.monotonic())
        arrived: dict[int, Timed] = {}
        for connection in wait(list(busy), timeout=patience):
            worker = busy.pop(connection)  # type: ignore[arg-type]  # only connections were passed
            task = worker.task
            assert task is not None
            try:
                message = worker.connection.recv()
                if message == STARTED:
                    worker.deadline = time.monotonic() + self._settings.timeout
                else:
                    arrived[task] = Timed(*message)
                    worker.task = None
            except (EOFError, OSError):
                arrived[task] = self._failure("error", worker)
        now = time.monotonic()
        for worker in busy.values():
            if now >= worker.deadline:
                assert worker.task is not None
                arrived[worker.task] = self._failure("timeout", worker)
        return arrived

    def _failure(self, status: Status, worker: _Worker) -> Timed:
        """Kill the worker and return the verdict of the completion that it had."""
        self._workers.remove(worker)
        _end(worker)
        expired = status == "timeout"
        note = f"no verdict within {self._settings.timeout:g} s" if expired else "the worker died"
        elapsed = self._settings.timeout * 1000 if expired else 0.0
        return Timed(Verdict(Score(reward=None, status=status, note=note), "none"), elapsed)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            _end(worker)
        self._workers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.kill()
    worker.process.wait()
