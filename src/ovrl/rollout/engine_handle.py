"""One child process of `EngineProcess`, as its parent sees it."""

import multiprocessing
import queue
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Final, Literal

from ovrl.rollout.engine import Request
from ovrl.rollout.engine_child import serve
from ovrl.rollout.engine_messages import READY, Done, Failure, Order, Start, Weights

GONE: Final = "gone"
"""The last event of a child."""

_PRELOAD = "ovrl.rollout.engine_child"

_END_LIMIT = 10.0
"""Seconds for the system to clear a killed process away."""


class ChildGoneError(Exception):
    """The child ended before it had done what it was told."""


class Handle:
    """A child, what it was given, and what it said last.

    Children are forked from a server that has imported torch and done nothing with it: starting one, and starting
    it again, costs little more than reading the model.
    """

    def __init__(self, start: Start, events: "queue.SimpleQueue[tuple[Any, Any]]") -> None:
        """Start it.

        Args:
            start: what it is to be.
            events: gets (handle, message) for all that it says of completions, and `GONE` at last.
        """
        self.number = start.number
        self.weights = start.weights
        """That its engine has; None is the model's own."""
        self.is_hungry = False
        """Whether it waits for a request."""
        self.assigned: dict[str, tuple[Request, dict[int, int]]] = {}
        """By the name that the child knows it by: each request, and the seeds that are not answered yet."""
        self.has_made = False
        """Whether a completion has come from it."""
        self.is_alive = True
        self.last_words: Failure | None = None
        self.ready: Future[None] = Future()
        self._orders: dict[int, Future[str | None]] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._events = events
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_PRELOAD, start.engine.partition(":")[0]])
        self._connection, theirs = multiprocessing.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name=f"engine {start.number}", daemon=True)
        self._process.start()
        theirs.close()
        threading.Thread(target=self._listen, args=(self._connection,), daemon=True).start()
        self._send(start)

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def give(self, name: str, request: Request) -> None:
        """Assign a request, under a name of its own."""
        self.assigned[name] = request, dict(request.seeds)
        self.is_hungry = False
        self._send(replace(request, id=name))

    def order(self, act: Literal["pause", "resume", "load"], weights: Weights | None = None) -> "Future[str | None]":
        """Tell it to do something; the future holds why it was refused, or None. It raises ChildGoneError."""
        future: Future[str | None] = Future()
        with self._lock:
            if not self.is_alive:
                future.set_exception(ChildGoneError())
                return future
            number = max(self._orders, default=0) + 1
            self._orders[number] = future
        self._send(Order(number, act, weights))
        return future

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.join(_END_LIMIT)

    def epitaph(self) -> str:
        """Return how it ended."""
        self._process.join(_END_LIMIT)
        code = self._process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
        return f"{how}: {self.last_words.reason}" if self.last_words else how

    def _send(self, message: Any) -> None:
        with self._sending, suppress(OSError):  # when it is gone, the listener says so
            self._connection.send(message)

    def _listen(self, connection: Connection) -> None:
        """Sort what the child says, until it is gone."""
        with suppress(EOFError, OSError):
            while True:
                message = connection.recv()
                if isinstance(message, Done):
                    with self._lock:
                        future = self._orders.pop(message.number)
                    future.set_result(message.refused)
                elif isinstance(message, Failure):
                    self.last_words = message
                elif message == READY:
                    self.ready.set_result(None)
                else:
                    self._events.put((self, message))
        with self._lock:
            self.is_alive = False
            waiting = list(self._orders.values())
        for future in (*waiting, *([] if self.ready.done() else [self.ready])):
            future.set_exception(ChildGoneError())
        self._events.put((self, GONE))
        connection.close()
