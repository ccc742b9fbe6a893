"""The clock of a worker, in memory that it shares with the fleet: what is judged, and since when."""

import mmap
import time
from collections.abc import Callable
from struct import Struct

from ovrl.reward.batch import WHOLE
from ovrl.reward.judge import load_rule

PROGRESS = Struct("<qqd")
"""Item of the batch, completion of the item, and since when by `time.monotonic`; or -1, -1 and 0.0."""


class Clock:
    """Tells the parent which completion is judged, and measures it."""

    def __init__(self, progress: mmap.mmap | bytearray, prepare: Callable[[str], object] = load_rule) -> None:
        """Write to shared memory of `PROGRESS.size` bytes; `prepare` loads the rule of an answer type."""
        self._progress = progress
        self._prepare = prepare
        self._prepared: set[str] = set()
        self.begun = 0.0

    def begin(self, item: int, completion: int, answer_type: str | None = None) -> None:
        """Start the time of a completion. Its rule is loaded before: that is not the completion's fault."""
        if answer_type is not None and answer_type not in self._prepared:
            self.rest()
            self._prepare(answer_type)
            self._prepared.add(answer_type)
        self.begun = time.monotonic()
        PROGRESS.pack_into(self._progress, 0, item, completion, self.begun)

    def begin_reading(self, item: int) -> None:
        """Start the time of a line that has to be read first."""
        PROGRESS.pack_into(self._progress, 0, item, WHOLE, time.monotonic())

    def elapsed_ms(self) -> float:
        """Return the time since `begin`."""
        return round((time.monotonic() - self.begun) * 1000, 3)

    def rest(self) -> None:
        """Say that nothing is judged now."""
        PROGRESS.pack_into(self._progress, 0, -1, -1, 0.0)
