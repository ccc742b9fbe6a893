"""Judge completions as they come: give one, get a future. The in-process side of scoring, for `ovrl train`."""

import collections
import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

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
        self._is_closed = True
        os.write(self._wake_writer, b".")
        self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        given: dict[int, collections.deque[Future[Timed]]] = {}
        number = 0
        with Fleet(self._settings.duty()) as fleet:
            while True:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_reader, 1 << 16)  # before looking around: what comes later wakes us again
                if self._is_closed:
                    break
                while self._waiting and fleet.is_free:
                    taken = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                    given[number] = collections.deque(future for _, future in taken)
                    fleet.give(number, Batch(asked=[asked for asked, _ in taken]))
                    number += 1
                for answered, part in fleet.wait(self._wake_reader):
                    for timed in part.verdicts:
                        given[answered].popleft().set_result(timed)
                    if part.is_last:
                        del given[answered]
        for futures in (*given.values(), [future for _, future in self._waiting]):
            for future in futures:
                future.cancel()
