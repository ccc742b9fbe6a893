"""Write the stages as parquet shards, from one file of candidates: rows are copied, never decoded."""

import shutil
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SHARD_BYTES = 256 << 20
"""Size of a shard before compression; images dominate, and are compressed already."""

_ROWS, _BYTES = 256, 64 << 20  # a row group ends at whichever comes first; so much is in memory at a time


def write_stage(folder: Path, candidates: Path, parts: list[Set[str]]) -> list[Path]:
    """Fill the folder with shards and return them; an empty stage is one shard without rows.

    Args:
        folder: replaced, if it is there.
        candidates: parquet file of samples.
        parts: ids to copy, in the order of the candidates; one part behind the other. Stage 2 holds its own
            rows first, and then those that it repeats.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    for path in (temporary, folder):
        shutil.rmtree(path, ignore_errors=True)
    temporary.mkdir()
    with pq.ParquetFile(candidates) as source:
        writer = _ShardWriter(temporary, source.schema_arrow)
        for ids in parts:
            for table in _copied(source, ids):
                writer.write(table)
        count = writer.close()
    for number in range(count):
        (temporary / _name(number)).rename(temporary / f"part-{number:05d}-of-{count:05d}.parquet")
    temporary.rename(folder)
    return sorted(folder.iterdir())


def _copied(source: Any, ids: Set[str]) -> Iterator[Any]:
    """Yield the rows with these ids in tables of one row group each."""
    waiting: list[Any] = []
    rows = size = 0
    for batch in source.iter_batches(batch_size=_rows_at_once(source)) if ids else ():
        mask = np.fromiter((name in ids for name in batch.column("id").to_pylist()), bool, batch.num_rows)
        if mask.any():
            waiting.append(batch.filter(pa.array(mask)))
            rows += waiting[-1].num_rows
            size += waiting[-1].nbytes
        if rows >= _ROWS or size >= _BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _rows_at_once(source: Any) -> int:
    """Return how many rows of a common size are a quarter of a row group's bytes."""
    groups = [source.metadata.row_group(index) for index in range(source.num_row_groups)]
    size = sum(group.total_byte_size for group in groups) // max(1, source.metadata.num_rows)
    return max(1, min(_ROWS, _BYTES // 4 // max(1, size)))


def _name(number: int) -> str:
    return f"{number}.parquet"


class _ShardWriter:
    """Begins the next shard when one is full."""

    def __init__(self, folder: Path, schema: Any) -> None:
        self._folder = folder
        self._schema = schema
        self._count = 0
        self._bytes = 0
        self._open: Any = self._begin()

    def _begin(self) -> Any:
        self._count += 1
        self._bytes = 0
        return pq.ParquetWriter(self._folder / _name(self._count - 1), self._schema, compression="zstd")

    def write(self, table: Any) -> None:
        if self._bytes and self._bytes + table.nbytes > SHARD_BYTES:
            self._open.close()
            self._open = self._begin()
        self._open.write_table(table, row_group_size=table.num_rows)
        self._bytes += table.nbytes

    def close(self) -> int:
        """Close the last shard and return how many there are."""
        self._open.close()
        return self._count
