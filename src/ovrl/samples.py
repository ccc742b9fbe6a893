"""Read samples: JSON lines, parquet, a directory of either, or stdin."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl import codec, store
from ovrl.errors import RecordError, UsageError
from ovrl.records import Sample
from ovrl.rejects import Rejects

_SUFFIXES = (".jsonl", ".parquet")


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


def data_files(source: str) -> list[Path]:
    """Return the files that `source` names, in order.

    Raises:
        UsageError: nothing is there, or a file of an unknown kind is named.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and _holds_samples(p))
        if not files:
            raise UsageError(f"{source} holds no {' or '.join(_SUFFIXES)} file")
        return files
    if not path.exists():
        raise UsageError(f"{source} does not exist")
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"{source}: unknown kind of file; known: {', '.join(_SUFFIXES)}")
    return [path]


def _holds_samples(path: Path) -> bool:
    """Whether a file of a directory is data, and not what a command wrote beside it."""
    return not path.name.startswith((".", "_")) and path.name not in ("rejects.jsonl", "curation.jsonl")


def read_samples(source: str, rejects: Rejects, selection: Selection | None = None) -> Iterator[Sample]:
    """Yield the samples of `source` in order; bad records and repeated ids go to `rejects`.

    Args:
        source: a .jsonl or .parquet file, a directory of such files, or "-" for stdin.
        rejects: where bad records go.
        selection: the part to read; None reads all.

    Raises:
        UsageError: the source itself cannot be read.
    """
    seen: set[str] = set()
    for where, line, record, base in (selection or Selection())(_raw(source)):
        given = record.get("id") if isinstance(record, dict) else None
        try:
            if isinstance(record, RecordError):
                raise record
            sample = codec.decode_sample(record, base)
            if sample.id in seen:
                raise RecordError("id", f"{sample.id!r} is used twice; ids must be unique")
        except RecordError as error:
            rejects.add(error.at(where), line=line, record_id=given if isinstance(given, str) else None)
            continue
        seen.add(sample.id)
        rejects.places[sample.id] = (where, line)
        yield sample


def _raw(source: str) -> Iterator[tuple[str, int, Any, Path]]:
    """Yield (place, line or row number from 1, record, folder of relative paths)."""
    if source == "-":
        with store.open_text("-") as stream:
            for line, record in store.read_jsonl(stream, "stdin"):
                yield f"stdin:{line}", line, record, Path()
        return
    for path in data_files(source):
        if path.suffix == ".parquet":
            from ovrl import parquet  # pyarrow is slow to import

            for row, record in enumerate(parquet.read_rows(path), start=1):
                yield f"{path}:{row}", row, record, path.parent
        else:
            with store.open_text(str(path)) as stream:
                for line, record in store.read_jsonl(stream, str(path)):
                    yield f"{path}:{line}", line, record, path.parent
