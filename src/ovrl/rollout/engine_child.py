"""The process that holds an engine: `engine_process` starts it, feeds it, and starts another when it dies.

The main thread samples. A second one reads what the parent says, so that weights are read while completions go on.
It also ends the process when the parent is gone, killed or not: the socket closes with its last holder.
"""

import os
import queue
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch
from safetensors.torch import load_file

from ovrl import plugins
from ovrl.errors import OvrlError, UsageError
from ovrl.rollout.engine import Engine, Generation, Request
from ovrl.rollout.engine_messages import PULL, READY, Done, Failure, Order, Start, Weights

_PATIENCE = 0.01
"""Seconds that sampling waits for a request that it has just asked for."""


class _Line:
    """The connection to the parent, for both threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        with self._sending:
            self._connection.send(message)

    def recv_or_none(self) -> Any:
        """Return the next message; None when the parent is gone."""
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return None


class _Feed:
    """The parent's requests, as the engine pulls them."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._arrived: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._asked = False
        self._open: dict[str, int] = {}
        """Unfinished completions of each request."""

    def put(self, request: Request) -> None:
        """Take what the parent sent."""
        self._arrived.put(request)

    def finished(self, request_id: str, *, all_of_it: bool) -> None:
        """Count a completion, or forget a refused request."""
        self._open[request_id] -= 1
        if all_of_it or not self._open[request_id]:
            del self._open[request_id]

    def __iter__(self) -> Iterator[Request | None]:
        while True:
            patience = 0.0 if self._asked else _PATIENCE
            if not self._asked:
                self._line.send(PULL)
                self._asked = True
            try:
                request = self._arrived.get(timeout=patience if self._open else None)
            except queue.Empty:
                yield None
                continue
            self._asked = False
            self._open[request.id] = len(request.seeds)
            yield request


def serve(connection: Connection) -> None:
    """Be the engine that the first message describes, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    os.dup2(2, 1)  # nothing that a library prints may end among the parent's records
    line = _Line(connection)
    try:
        start: Start | None = line.recv_or_none()
        if start is None:
            return
        feed = _Feed(line)
        engine = _engine(start)
        threading.Thread(target=_listen, args=(line, engine, feed), daemon=True).start()
        line.send(READY)
        for one in engine.generate(feed):
            line.send(one)
            feed.finished(one.request_id, all_of_it=not isinstance(one, Generation))
    except (BrokenPipeError, ConnectionResetError):  # the parent needs no more
        os._exit(0)
    except BaseException as error:
        with suppress(OSError):
            line.send(_last_words(error))
        raise


def _engine(start: Start) -> Engine:
    if torch.cuda.is_available():
        torch.cuda.set_device(start.number % torch.cuda.device_count())
    engine: Engine = plugins.resolve(start.engine, {}, "engine")(start.model, start.settings)
    if start.paused:
        engine.pause()
    if start.weights is not None:
        _load(engine, start.weights)
    return engine


def _listen(line: _Line, engine: Engine, feed: _Feed) -> None:
    """Do what the parent says; end this process when the parent is gone, or waits for an answer in vain."""
    code = 1
    try:
        while (message := line.recv_or_none()) is not None:
            if isinstance(message, Order):
                line.send(Done(message.number, _obey(message, engine)))
            else:
                feed.put(message)
        code = 0
    except BaseException as error:
        with suppress(OSError):
            line.send(_last_words(error))
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def _obey(order: Order, engine: Engine) -> str | None:
    """Carry an order out, or return why not."""
    try:
        if order.weights is not None:
            _load(engine, order.weights)
        else:
            getattr(engine, order.act)()
    except UsageError as error:
        return str(error)
    return None


def _load(engine: Engine, weights: Weights) -> None:
    if weights.path.is_dir():
        engine.load(weights.path, weights.version)
    else:
        engine.load(load_file(weights.path).items(), weights.version)


def _last_words(error: BaseException) -> Failure:
    text = str(error) or type(error).__name__
    if isinstance(error, UsageError):
        return Failure(text, "usage")
    if isinstance(error, OvrlError):
        return Failure(text, "engine")
    return Failure(f"{type(error).__name__}: {text}", "crash")
