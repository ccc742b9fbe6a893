"""Engines in processes of their own: sampling and training then use other cores or GPUs, and outlive each other.

    requests --> EngineProcess --> child 0: TransformersEngine
                     ^      |----> child 1: TransformersEngine       one for each GPU, or several on a CPU
                     +-- generations, as they are finished

All children pull from one source, each when it has room. A child that dies is started again with the weights in force,
and what it had not finished is sampled again from the beginning: with the same seeds, and so the same, unless the
weights have changed meanwhile.
"""

import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ovrl.errors import OvrlError, UsageError
from ovrl.rollout import weights_file
from ovrl.rollout.engine import Generation, Refusal, Request
from ovrl.rollout.engine_handle import GONE, ChildGoneError, Handle
from ovrl.rollout.engine_messages import PULL, Start
from ovrl.rollout.source import Source
from ovrl.rollout.weights_file import WeightsFile

if TYPE_CHECKING:
    from torch import Tensor

    from ovrl.rollout.settings import EngineSettings

log = logging.getLogger(__name__)

_CLOSED: Final = "closed"

_POLL = 0.01
"""Seconds after which a source that had nothing to start is asked again, if nothing happens before."""

_MOST_STILLBORN = 5
"""Children that may die one after the other without a completion."""

_LOAD_LIMIT = 900.0
"""Seconds that new weights may take."""

_START_LIMIT = 1800.0
"""Seconds that the first child may take to read a model, perhaps from a slow disk."""


class EngineProcess:
    """An engine whose sampling is done by children of this process. Several sample side by side."""

    def __init__(
        self,
        model: str,
        settings: "EngineSettings",
        *,
        engine: str = "ovrl.rollout.transformers_engine:in_process",
        weights_folder: Path | None = None,
        load_limit: float = _LOAD_LIMIT,
    ) -> None:
        """Start the children and wait until they have read the model.

        Args:
            model: a model directory or hub id.
            settings: how many children (1 at least), and what each of their engines is to be.
            engine: `module:function` of (model, settings), which makes the engine of a child.
            weights_folder: where new weights are handed over; by default in memory, where there is room.
            load_limit: seconds after which `load` gives up.

        Raises:
            UsageError: the model cannot be loaded.
            OvrlError: the children do not start.
        """
        self.model = model
        processes = max(1, settings.processes)
        threads = settings.threads or max(1, (os.cpu_count() or 1) // processes)
        own = settings.model_copy(update={"processes": 0, "threads": threads})
        self._start = Start(engine=engine, model=model, settings=own, number=0, weights=None, paused=False)
        self._folder, self._load_limit = weights_folder, load_limit
        self._events: queue.SimpleQueue[tuple[Handle | None, Any]] = queue.SimpleQueue()
        self._lock = threading.RLock()
        """Held while a child is started, or what all children are to be is changed."""
        self._loading = threading.Lock()
        self._weights = WeightsFile(None, 0)
        self.is_closed = False
        self._is_generating = False
        self._stillborn = 0
        self._names = 0
        self._again: deque[Request] = deque()
        """What dead children left, to be given before anything new."""
        self.restarts = 0
        """Children that were started again."""
        self._children = [self._launch(number) for number in range(processes)]
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._weights.version

    @property
    def pids(self) -> list[int]:
        """The processes of the children."""
        return [child.pid for child in self._children]

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        """Yield the generations of each request; see `Engine.generate`.

        Raises:
            OvrlError: children die again and again, or another call of this is under way.
        """
        source = Source(requests)
        self._begin()
        try:
            while True:
                self._feed(source)
                if self._unfinished or not any(child.is_hungry for child in self._children):
                    yield from self._next_event(source)
                elif source.ended:
                    return
        finally:
            self._drop()

    def pause(self) -> None:
        """Let no step follow in any child; see `Engine.pause`."""
        self._tell_all(paused=True)

    def resume(self) -> None:
        """Let steps follow again."""
        self._tell_all(paused=False)

    def load(self, weights: "Path | Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Hand new weights over; each child swaps them in between two steps. See `Engine.load`.

        Raises:
            UsageError: they are not this model's; nothing has changed.
            OvrlError: a child did not take them in time. It is started again, with the weights of before.
        """
        with self._loading:
            file = weights_file.write(weights, version, self._folder)
            try:
                self._hand_over(file)
            except BaseException:
                file.close()
                raise

    def close(self) -> None:
        """End the children; whoever generates gets an error."""
        with self._lock:
            self.is_closed = True
            for child in self._children:
                child.end()
            self._weights.close()
        self._events.put((None, _CLOSED))

    @property
    def _unfinished(self) -> bool:
        return bool(self._again) or any(child.assigned for child in self._children)

    def _begin(self) -> None:
        with self._lock:
            self._check_open()
            if self._is_generating:
                raise OvrlError("this engine is generating already")
            self._is_generating = True

    def _drop(self) -> None:
        """Forget what is not finished; a child that works at it is started anew when it is needed."""
        with self._lock:
            self._again.clear()
            for child in self._children:
                if child.assigned:
                    child.end()
                    child.assigned.clear()
            self._is_generating = False

    def _feed(self, source: Source) -> None:
        """Give each child that waits a request, first those that a dead child has left."""
        for child in self._children:
            if not child.is_hungry:
                continue
            request = self._again.popleft() if self._again else self._pulled(source)
            if request is None:
                return
            with self._lock:
                if child not in self._children:  # it died, and was replaced, while the source waited
                    self._again.append(request)
                    return
                self._names += 1
                child.give(str(self._names), request)

    def _pulled(self, source: Source) -> Request | None:
        while (request := source.pull()) is not None and not request.seeds:
            continue
        return request

    def _next_event(self, source: Source) -> Iterator[Generation | Refusal]:
        """Wait for what a child says next, and yield it if it is meant for who generates."""
        can_pull = not source.ended and any(child.is_hungry for child in self._children)
        try:
            child, message = self._events.get(timeout=_POLL if can_pull else None)
        except queue.Empty:
            return
        self._check_open()
        if child not in self._children:  # said before it was replaced
            return
        assert child is not None
        if message == GONE:
            self._replace(child)
        elif message == PULL:
            child.is_hungry = True
        elif message.request_id in child.assigned:
            child.has_made, self._stillborn = True, 0
            yield _answer(child, message)

    def _replace(self, child: Handle) -> None:
        """Start a child again, and keep what it had not finished."""
        with self._lock:
            self._check_open()
            if child not in self._children:
                return
            epitaph, words = child.epitaph(), child.last_words
            if words is not None and words.kind != "crash":
                raise (UsageError if words.kind == "usage" else OvrlError)(words.reason)
            self._stillborn += not child.has_made
            if self._stillborn > _MOST_STILLBORN:
                raise OvrlError(f"engines die again and again; the last one, {child.number}, {epitaph}")
            left = [replace(request, seeds=seeds) for request, seeds in child.assigned.values()]
            log.warning(
                "engine %d %s; it is started again, and %d unfinished completions with it",
                child.number,
                epitaph,
                sum(len(request.seeds) for request in left),
            )
            self._again.extend(left)
            self._children[self._children.index(child)] = self._launch(child.number)
            self.restarts += 1

    def _launch(self, number: int) -> Handle:
        start = replace(self._start, number=number, weights=self._weights.place)
        return Handle(start, self._events)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT
        while waiting := [child for child in self._children if not child.ready.done() or child.ready.exception()]:
            wait([child.ready for child in waiting], max(0.0, deadline - time.monotonic()))
            for child in waiting:
                if not child.ready.done():
                    raise OvrlError(f"engine {child.number} was not ready in {_START_LIMIT:g} s")
                if child.ready.exception():
                    self._replace(child)

    def _hand_over(self, file: WeightsFile) -> None:
        """Have all children take new weights, or none."""
        deadline = time.monotonic() + self._load_limit
        try:
            while behind := self._behind(file):
                futures = {child: child.order("load", file.place) for child in behind}
                wait(futures.values(), max(0.0, deadline - time.monotonic()))
                for child, future in futures.items():
                    if not future.done():
                        child.end()
                        raise OvrlError(f"engine {child.number} did not take new weights in {self._load_limit:g} s")
                    if future.exception() is None:
                        if (reason := future.result()) is not None:
                            raise UsageError(reason)
                        child.weights = file.place
        except BaseException:
            for child in self._children:
                if child.weights is file.place:
                    child.end()
            raise

    def _behind(self, file: WeightsFile) -> list[Handle]:
        """Return the living children that do not have these weights yet; when all have them, they are in force."""
        with self._lock:
            self._check_open()
            for child in self._children if not any(child.is_alive for child in self._children) else ():
                self._replace(child)
            behind = [child for child in self._children if child.is_alive and child.weights is not file.place]
            if not behind:
                self._weights.close()
                self._weights = file
            return behind

    def _tell_all(self, *, paused: bool) -> None:
        with self._lock:
            self._start = replace(self._start, paused=paused)
            futures = [child.order("pause" if paused else "resume") for child in self._children]
        for future in futures:
            if not isinstance(future.exception(), ChildGoneError | None):
                future.result()

    def _check_open(self) -> None:
        if self.is_closed:
            raise OvrlError("the engine is closed")


def _answer(child: Handle, message: Generation | Refusal) -> Generation | Refusal:
    """Return it under the request's own name, and cross it off what the child has to do."""
    name = message.request_id
    request, seeds = child.assigned[name]
    if isinstance(message, Generation):
        del seeds[message.k]
    if isinstance(message, Refusal) or not seeds:
        del child.assigned[name]
    return replace(message, request_id=request.id)
