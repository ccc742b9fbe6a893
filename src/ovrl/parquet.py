"""Samples in parquet: one row each, images embedded, columns as in the released data set."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ovrl.codec import encode_row, jsonable
from ovrl.errors import RecordError, UsageError
from ovrl.records import Sample

_TEXT_COLUMNS = ("problem_type", "answer_type", "source", "prompt_type", "format_guidance", "meta")

# Tells `datasets` to decode the column, as it does for the released files; it finds out the others by itself.
_FEATURES = {"info": {"features": {"images": {"feature": {"_type": "Image"}, "_type": "List"}}}}


_METADATA = {b"huggingface": json.dumps(_FEATURES).encode()}

_TEXT = pa.string()
_IMAGES = pa.list_(pa.struct({"bytes": pa.binary(), "path": _TEXT}))

SCHEMA = pa.schema(
    {
        "id": _TEXT,
        "images": _IMAGES,
        "problem": _TEXT,
        "answer": pa.list_(_TEXT),
        **dict.fromkeys(_TEXT_COLUMNS, _TEXT),
    },
    metadata=_METADATA,
)
"""The released columns, and two of our own."""

_MESSAGES = pa.list_(pa.struct({"role": _TEXT, "content": _TEXT}))
_PARTS = pa.list_(pa.struct({"type": _TEXT, "text": _TEXT}))

LAYOUTS = {
    "verl": pa.schema(
        {
            "data_source": _TEXT,
            "prompt": _MESSAGES,
            "images": _IMAGES,
            "ability": _TEXT,
            "reward_model": pa.struct({"style": _TEXT, "ground_truth": _TEXT}),
            "extra_info": pa.struct({"id": _TEXT, "question": _TEXT, "ovrl": _TEXT}),
        },
        metadata=_METADATA,
    ),
    "easyr1": pa.schema(
        {"images": _IMAGES, "problem": _TEXT, "answer": _TEXT, "ovrl": _TEXT},
        metadata=_METADATA,
    ),
    "trl": pa.schema(
        {
            "prompt": pa.list_(pa.struct({"role": _TEXT, "content": _PARTS})),
            "images": _IMAGES,
            "solution": _TEXT,
            "answer_type": _TEXT,
            "ovrl": _TEXT,
        },
        metadata=_METADATA,
    ),
}
"""Columns of the other layouts that are kept in parquet."""

_ROWS_PER_BATCH = 16
_ROWS_PER_GROUP = 256
_BYTES_PER_GROUP = 64 << 20
"""A group ends at whichever comes first: both ends of a copy hold one in memory, and images dominate."""


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | RecordError]]:
    """Yield (number from 1, row as a JSON-like object without absent values), one group after the other.

    A damaged group is one `RecordError` that names the rows that are lost; the groups behind it are read.

    Raises:
        UsageError: the file is not parquet.
    """
    try:
        table = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{path} is not a parquet file that can be read: {error}") from error
    with table:
        end = 0
        for group in range(table.num_row_groups):
            done, end = end, end + table.metadata.row_group(group).num_rows
            try:
                for batch in table.iter_batches(batch_size=_ROWS_PER_BATCH, row_groups=[group]):
                    for row in batch.to_pylist():
                        done += 1
                        yield done, {name: value for name, value in row.items() if value is not None}
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                lost = f"rows {done + 1} to {end} of {path} are damaged and lost: {' '.join(str(error).split())}"
                yield done + 1, RecordError("", lost, records=end - done)


def columns(path: Path) -> list[str]:
    """Return the names of the columns; none when the file cannot be read, which reading it reports."""
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return []


def write_samples(path: Path, samples: Iterable[Sample], *, like: Path | None = None) -> int:
    """Write the samples and return how many; unknown fields become columns of their own.

    Args:
        path: the file.
        samples: read once.
        like: a file of ours that has the columns; None takes them from the first samples.

    Raises:
        RecordError: an image cannot be read.
    """
    count = 0
    with contextlib.ExitStack() as stack:
        writer: Any = None
        for rows in _batched((encode_row(sample), sample.extra) for sample in samples):
            if writer is None:  # the first rows tell the types of the unknown fields
                schema = pq.read_schema(like) if like else _schema([extra for _, extra in rows])
                writer = stack.enter_context(_open(path, schema))
            schema = writer.schema
            writer.write_table(pa.Table.from_pylist([_row(row, extra, schema) for row, extra in rows], schema))
            count += len(rows)
        if writer is None:
            stack.enter_context(_open(path, pq.read_schema(like) if like else SCHEMA))
    return count


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], schema: Any) -> int:
    """Write rows of a fixed schema, and return how many."""
    count = 0
    with _open(path, schema) as writer:
        for batch in _batched((row, {}) for row in rows):
            writer.write_table(pa.Table.from_pylist([row for row, _ in batch], schema))
            count += len(batch)
    return count


def _open(path: Path, schema: Any) -> Any:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def _schema(extras: list[Mapping[str, Any]]) -> Any:
    names = sorted({name for extra in extras for name in extra})
    types = {name: _common_type([extra.get(name) for extra in extras]) for name in names}
    fields = [pa.field(name, kind) for name, kind in types.items() if kind is not None]
    return pa.schema([*SCHEMA, *fields], metadata=SCHEMA.metadata)


def _common_type(values: list[Any]) -> Any:
    """Return the type of a column of these values, or None when there is none that parquet can hold."""
    try:
        kind = pa.array(values).type
    except (ValueError, TypeError, OverflowError):  # 1 in one row and "one" in the next
        return None
    return None if "struct<>" in str(kind) else kind


def _batched(
    rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> Iterator[list[tuple[Mapping[str, Any], Mapping[str, Any]]]]:
    batch: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    size = 0
    for row, extra in rows:
        batch.append((row, extra))
        size += sum(len(image["bytes"]) for image in row["images"])
        if len(batch) >= _ROWS_PER_GROUP or size >= _BYTES_PER_GROUP:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _row(row: Mapping[str, Any], extra: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    fitting = {name: value for name, value in extra.items() if _fits(value, name, schema)}
    rest = {name: value for name, value in extra.items() if name not in fitting}
    meta = row["meta"] | rest  # what has no column, or another type than its column, is not lost
    text = json.dumps(jsonable(meta), sort_keys=True) if meta else None
    return fitting | dict(row) | {"meta": text}


def _fits(value: Any, name: str, schema: Any) -> bool:
    """Whether the column gives back what is put in."""
    if name not in schema.names:
        return False
    try:
        return bool(pa.scalar(value, schema.field(name).type).as_py() == value)
    except (ValueError, TypeError, OverflowError):
        return False
