"""Samples in parquet: one row each, images embedded, columns as in the released data set."""

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ovrl.codec import encode_row
from ovrl.errors import UsageError
from ovrl.records import Sample

_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_TEXT_COLUMNS = ("problem_type", "answer_type", "source", "prompt_type", "format_guidance", "meta")

# Tells `datasets` to decode the column, as it does for the released files.
_FEATURES = {
    "info": {
        "features": {
            "id": {"dtype": "string", "_type": "Value"},
            "images": {"feature": {"_type": "Image"}, "_type": "List"},
            "problem": {"dtype": "string", "_type": "Value"},
            "answer": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
            **{name: {"dtype": "string", "_type": "Value"} for name in _TEXT_COLUMNS},
        }
    }
}

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("images", pa.list_(_IMAGE)),
        pa.field("problem", pa.string()),
        pa.field("answer", pa.list_(pa.string())),
        *(pa.field(name, pa.string()) for name in _TEXT_COLUMNS),
    ],
    metadata={b"huggingface": json.dumps(_FEATURES).encode()},
)

_ROWS_PER_GROUP = 256  # images dominate: a few MB are in memory at a time


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows as JSON-like objects, a row group's part at a time; absent values are left out.

    Raises:
        UsageError: the file is not parquet.
    """
    try:
        table = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{path} is not a parquet file that can be read: {error}") from error
    with table:
        for batch in _batches(table, path):
            for row in batch.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}


def _batches(table: Any, path: Path) -> Iterator[Any]:
    try:
        yield from table.iter_batches(batch_size=64)
    except (pa.ArrowInvalid, OSError) as error:  # a torn download often has its footer, and damage in between
        raise UsageError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def write_samples(path: Path, samples: Iterable[Sample]) -> int:
    """Write the samples and return how many; unknown fields become columns of their own.

    Raises:
        RecordError: an image cannot be read.
    """
    count = 0
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for rows in _batched(samples, _ROWS_PER_GROUP):
            if writer is None:  # the first rows tell the types of the unknown fields
                schema = _schema([sample.extra for sample in rows])
                writer = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
            schema = writer.schema
            writer.write_table(pa.Table.from_pylist([_row(sample, schema) for sample in rows], schema))
            count += len(rows)
        if writer is None:
            pq.write_table(pa.Table.from_pylist([], SCHEMA), path)
    return count


def _schema(extras: list[Mapping[str, Any]]) -> Any:
    names = sorted({name for extra in extras for name in extra})
    types = {name: _common_type([extra.get(name) for extra in extras]) for name in names}
    fields = [pa.field(name, kind) for name, kind in types.items() if kind is not None]
    return pa.schema([*SCHEMA, *fields], metadata=SCHEMA.metadata if not fields else None)


def _common_type(values: list[Any]) -> Any:
    """Return the type of a column of these values, or None when there is none that parquet can hold."""
    try:
        kind = pa.array(values).type
    except (ValueError, TypeError, OverflowError):  # 1 in one row and "one" in the next
        return None
    return None if "struct<>" in str(kind) else kind


def _batched(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    remaining = iter(samples)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _row(sample: Sample, schema: Any) -> dict[str, Any]:
    row = encode_row(sample)
    fitting = {name: value for name, value in sample.extra.items() if _fits(value, name, schema)}
    rest = {name: value for name, value in sample.extra.items() if name not in fitting}
    meta = row["meta"] | rest  # what has no column, or another type than its column, is not lost
    text = json.dumps(meta, sort_keys=True) if meta else None
    return fitting | row | {"meta": text}


def _fits(value: Any, name: str, schema: Any) -> bool:
    """Whether the column gives back what is put in."""
    if name not in schema.names:
        return False
    try:
        return bool(pa.scalar(value, schema.field(name).type).as_py() == value)
    except (ValueError, TypeError, OverflowError):
        return False
