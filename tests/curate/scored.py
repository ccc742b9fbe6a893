"""Scored lines, as `ovrl score` writes them, and what curation makes of them."""

import io
import json
from typing import Any

from ovrl.curate.evidence import Evidence
from ovrl.curate.scores import Lines, read_stream


def score(name: str, k: int, accuracy: float | None, **fields: Any) -> dict[str, Any]:
    """Return a line; None is a completion that could not be scored. The bonus in the reward must not count."""
    return {
        "id": f"{name}#{k}",
        "sample_id": name,
        "k": k,
        "completion": "x",
        "reward": None if accuracy is None else accuracy + 0.5,
        "components": {} if accuracy is None else {"accuracy": accuracy, "format": 0.5},
        "status": "timeout" if accuracy is None else "ok",
        "finish_reason": "stop",
        "elapsed_ms": 1.5,
        **fields,
    }


def hits(name: str, correct: int, n: int = 16, errors: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """Return n + errors lines, the first of them right."""
    values = [1.0] * correct + [0.0] * (n - correct) + [None] * errors
    return [score(name, k, value, **fields) for k, value in enumerate(values)]


def encode(records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def lines(records: Any) -> Lines:
    return read_stream(io.BytesIO(encode(records)), "scores.jsonl")


def evidence(records: Any) -> Evidence:
    return Evidence(lines(records))
