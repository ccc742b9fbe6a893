"""Where an engine stops between two steps: to pause, to change weights, to close."""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Condition

from ovrl.errors import OvrlError


class Gate:
    """Lets steps through one at a time, and none while somebody holds it.

    A plain lock would not do: who samples takes it back at once, and who waits for it may wait for ever.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._holders = 0
        self._paused = False
        self._closed = False
        self._stepping = False

    @contextmanager
    def step(self) -> Generator[None]:
        """Wait until nobody holds the gate, then keep it shut for the length of one step.

        Raises:
            OvrlError: the gate was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not (self._holders or self._paused or self._stepping))
            if self._closed:
                raise OvrlError("the engine is closed")
            self._stepping = True
        try:
            yield
        finally:
            with self._changed:
                self._stepping = False
                self._changed.notify_all()

    @contextmanager
    def held(self) -> Generator[None]:
        """Wait for the step under way and let none follow."""
        with self._changed:
            self._holders += 1
            self._changed.wait_for(lambda: not self._stepping)
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                self._changed.notify_all()

    def pause(self) -> None:
        """Wait for the step under way and let none follow until `resume`."""
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: not self._stepping)

    def resume(self) -> None:
        """Let steps through again."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def close(self) -> None:
        """Wait for the step under way; every later one is an error."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._stepping)
