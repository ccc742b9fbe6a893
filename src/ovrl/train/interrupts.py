"""Keep Ctrl-C and SIGTERM out of the moments in which the weights and the books must agree."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred() -> Generator[None]:
    """Hold SIGINT and SIGTERM back until the block is over, and then let the first one through."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    pending: list[tuple[int, FrameType | None]] = []

    def remember(number: int, frame: FrameType | None) -> None:
        pending.append((number, frame))

    earlier = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if pending:
        number, frame = pending[0]
        handler = earlier[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
