"""Ctrl-C and SIGTERM while the event loop runs: they ask for an end at a moment in which weights and books agree."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noted(loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> Generator[None]:
    """Tell of a first SIGINT or SIGTERM, and let it through when the block is over; a second one comes at once.

    Args:
        loop: the event loop that runs.
        tell: called by the loop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    earlier = {number: signal.getsignal(number) for number in _SIGNALS}
    received: list[signal.Signals] = []

    def restore() -> None:
        for number, handler in earlier.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def note(number: signal.Signals) -> None:
        received.append(number)
        restore()
        tell()

    for number in _SIGNALS:
        loop.add_signal_handler(number, note, number)
    try:
        yield
    finally:
        restore()
    if received and callable(handler := earlier[received[0]]):
        handler(received[0], None)
