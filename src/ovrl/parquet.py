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
        for batch in table.iter_batches(batch_size=64):
            for row in batch.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}


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
            names = writer.schema.names
            writer.write_table(pa.Table.from_pylist([_row(sample, names) for sample in rows], writer.schema))
            count += len(rows)
        if writer is None:
            pq.write_table(pa.Table.from_pylist([], SCHEMA), path)
    return count


def _schema(extras: list[Mapping[str, Any]]) -> Any:
    names = sorted({name for extra in extras for name in extra})
    fields = [pa.field(name, pa.array([extra.get(name) for extra in extras]).type) for name in names]
    return pa.schema([*SCHEMA, *fields], metadata=SCHEMA.metadata if not fields else None)


def _batched(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    remaining = iter(samples)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _row(sample: Sample, columns: list[str]) -> dict[str, Any]:
    row = encode_row(sample)
    late = {name: value for name, value in sample.extra.items() if name not in columns}
    meta = row["meta"] | late  # a field that the first rows did not have has no column; it is not lost
    text = json.dumps(meta, ensure_ascii=False, sort_keys=True) if meta else None
    return dict(sample.extra) | row | {"meta": text}
