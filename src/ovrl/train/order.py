"""Which prompt is planned when: group number -> row, a pure function of the seed; no loader state."""

import random
from collections.abc import Sequence
from typing import Any

from ovrl.records import derive_seed


class PromptOrder:
    """A fresh permutation of the rows in each epoch. A `sampler.Sampler` that learns nothing."""

    def __init__(self, rows: int, seed: int) -> None:
        if rows < 1:
            raise ValueError("no rows to order")
        self._rows = rows
        self._seed = seed
        self._epoch = -1
        self._permutation: list[int] = []

    def row(self, gid: int) -> int:
        """Return the row of group `gid`, 0 <= row < rows."""
        epoch, place = divmod(gid, self._rows)
        if epoch != self._epoch:
            self._permutation = list(range(self._rows))
            random.Random(derive_seed(self._seed, "epoch", epoch)).shuffle(self._permutation)
            self._epoch = epoch
        return self._permutation[place]

    def observe(self, row: int, rewards: Sequence[float | None], version: int) -> None:
        """Learn nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the order depends on the seed alone."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to load."""
