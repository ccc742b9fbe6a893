"""Judge completions as they come: give one, get a future. The in-process side of scoring, for `ovrl train`."""

import collections
import contextlib
import itertools
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from ovrl.errors import OvrlError
from ovrl.records import Question
from ovrl.reward.batch import Asked, Batch, Timed
from ovrl.reward.fleet import Fleet
from ovrl.reward.settings import ScoreSettings

_BATCH = 16
"""Most completions that a worker gets at once: a group; the next worker is not to wait for them."""
_WINDOW = 64
"""Most completions for each worker that `judge` takes ahead."""


class ScorePool:
    """Workers that judge completions, as many at a time as the settings say."""

    def __init__(self, settings: ScoreSettings) -> None:
        """Start the thread that serves the workers; these start with the first completion."""
        self._settings = settings
        self._waiting: collections.deque[tuple[Asked, Future[Timed]]] = collections.deque()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="ovrl-score", daemon=True)
        self._thread.start()

    def submit(self, question: Question, completion: str, record: Mapping[str, Any] | None = None) -> Future[Timed]:
        """Ask for a verdict; returns at once. `asyncio.wrap_future` makes the result awaitable.

        A completion that exceeds the time limit gets `timeout`, one that takes its worker down `error`;
        both have a null reward, and cost no other completion its verdict.

        Args:
            question: the task and its gold answers.
            completion: the text as sampled.
            record: all fields of the sample, for plug-ins.
        """
        if self._is_closed:
            raise OvrlError("the pool is closed, or its workers could not be started")
        future: Future[Timed] = Future()
        self._waiting.append(((question, completion, record or {}), future))
        os.write(self._wake_writer, b".")
        return future

    def judge(self, items: Iterable[tuple[Question, str]]) -> Iterator[Timed]:
        """Yield a verdict for each (question, completion), in their order; takes a limited number ahead."""
        ahead: collections.deque[Future[Timed]] = collections.deque()
        for question, completion in items:
            ahead.append(self.submit(question, completion))
            if len(ahead) >= _WINDOW * self._settings.workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def close(self) -> None:
        """End the workers; what was not judged is cancelled."""
        if self._wake_writer < 0:
            return
        self._is_closed = True
        os.write(self._wake_writer, b".")
        self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        self._wake_writer = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        given: dict[int, collections.deque[Future[Timed]]] = {}
        failure: Exception | None = None
        try:
            with Fleet(self._settings.duty()) as fleet:
                self._work(fleet, given)
        except Exception as error:  # noqa: BLE001 - whoever waits for a verdict must be told, whatever it was
            failure = error
        self._is_closed = True
        for future in (*itertools.chain(*given.values()), *(future for _, future in self._waiting)):
            if failure is None:
                future.cancel()
            elif not future.done():
                future.set_exception(failure)

    def _work(self, fleet: Fleet, given: dict[int, collections.deque[Future[Timed]]]) -> None:
        numbers = itertools.count()
        while True:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_reader, 1 << 16)  # before looking around: what comes later wakes us again
            if self._is_closed:
                return
            while self._waiting and fleet.is_free:
                taken = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                taken = [(asked, future) for asked, future in taken if future.set_running_or_notify_cancel()]
                if taken:
                    key = next(numbers)
                    given[key] = collections.deque(future for _, future in taken)
                    fleet.give(key, Batch(asked=[asked for asked, _ in taken]))
            for answered, part in fleet.wait(self._wake_reader):
                for timed in part.verdicts:
                    given[answered].popleft().set_result(timed)
                if part.is_last:
                    del given[answered]
