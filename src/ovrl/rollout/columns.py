"""Completions in parquet: the same names as in JSON lines, one row each, written from the finished lines."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_TEXT, _COUNT = pa.string(), pa.int64()

SCHEMA = pa.schema(
    {
        "id": _TEXT,
        "sample_id": _TEXT,
        "k": _COUNT,
        "completion": _TEXT,
        "finish_reason": _TEXT,
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "model": _TEXT,
        "policy_version": _COUNT,
        "seed": _COUNT,
        "sampling": pa.struct(
            {
                "temperature": pa.float64(),
                "top_p": pa.float64(),
                "top_k": _COUNT,
                "max_new_tokens": _COUNT,
                "stop": pa.list_(_TEXT),
            }
        ),
        "problem": _TEXT,
        "answer": pa.list_(_TEXT),
        "answer_type": _TEXT,
        "problem_type": _TEXT,
        "prompt_type": _TEXT,
        "source": _TEXT,
        "meta": _TEXT,
        "shuffled": pa.struct({"order": _TEXT, "gold": _TEXT}),
        "token_ids": pa.list_(_COUNT),
        "logprobs": pa.list_(pa.float64()),
        "schema": _TEXT,
    }
)
"""`meta` is JSON text, as in samples, since its keys differ from row to row."""

_ROWS = 1024


def from_lines(lines: Path, target: Path) -> None:
    """Write the completions of a file of JSON lines as parquet."""
    with lines.open("rb") as file, pq.ParquetWriter(target, SCHEMA, compression="zstd") as writer:
        rows = _rows(file)
        while part := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(part, SCHEMA))


def _rows(lines: Any) -> Iterator[dict[str, Any]]:
    for line in lines:
        record = json.loads(line)
        yield record | {"meta": json.dumps(record["meta"], sort_keys=True) if record["meta"] else None}
