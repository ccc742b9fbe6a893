"""Which part of an input a command reads: `--limit` and `--shard`."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ovrl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of an input is read."""

    limit: int | None = None
    """At most so many records."""
    shard: tuple[int, int] = (0, 1)
    """(i, n): every n-th record, starting with record i."""

    @property
    def partial(self) -> bool:
        """Whether anything is left out."""
        return self.limit is not None or self.shard != (0, 1)

    def count(self, total: int) -> int:
        """Return how many of `total` records are selected."""
        index, count = self.shard
        part = len(range(index, total, count))
        return part if self.limit is None else min(part, self.limit)

    def __call__(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the selected items."""
        index, count = self.shard
        return itertools.islice(itertools.islice(items, index, None, count), self.limit)

    @staticmethod
    def parse(limit: int | None, shard: str | None) -> "Selection":
        """Return the selection of the flags `--limit N --shard i/n`, with i from 0.

        Raises:
            UsageError: the shard is not `i/n` with 0 <= i < n, or the limit is negative.
        """
        if limit is not None and limit < 0:
            raise UsageError(f"--limit {limit}: a count is expected")
        if shard is None:
            return Selection(limit)
        index, _, count = shard.partition("/")
        if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
            raise UsageError(f"--shard {shard!r}: give i/n with 0 <= i < n, such as 0/4")
        return Selection(limit, (int(index), int(count)))
