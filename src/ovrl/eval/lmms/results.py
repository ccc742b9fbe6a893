"""Read what lmms-eval wrote for one task; its exit code says nothing, for it ends with 0 after an exception."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl.errors import MetricError, OvrlError
from ovrl.eval.lmms.suite import Benchmark


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One benchmark's value, in percent, with what was said of each document."""

    value: float
    metric: str
    items: tuple[dict[str, Any], ...]
    """`doc_id`, `score` (0 to 1, or None), `answer`, `answered`, `finish_reason`, `tokens`."""
    judge: str = "scorer"
    """What judged the answers: the benchmark's `scorer`, `rules` for a language model, or an `endpoint`."""


def read(folder: Path, task: str, benchmark: Benchmark, finishes: Path) -> TaskResult:
    """Return the result of the overlay task that was written below `folder`.

    Args:
        folder: lmms-eval's output path.
        task: name of the overlay task.
        benchmark: what was measured.
        finishes: how each document's reply ended, as the model wrote it down.

    Raises:
        OvrlError: there is no results file, or not this task in it, or not all of its documents.
        MetricError: the metric is missing, or no number.
    """
    files = sorted(folder.rglob("*_results.json"))
    if not files:
        raise OvrlError("it wrote no results")
    content = json.loads(files[-1].read_text(encoding="utf-8"))
    block = content.get("results", {}).get(task)
    if block is None:
        raise OvrlError(f"its results do not have the task {task}")
    metric, value = _value(block, benchmark)
    samples = files[-1].with_name(files[-1].name.replace("_results.json", f"_samples_{task}.jsonl"))
    items = _items(samples, finishes)
    judges = {judge for item in items if (judge := item.pop("judge", None))}
    counted = content.get("n-samples", {}).get(task, {}).get("effective")
    if counted is not None and counted != len(items):
        raise OvrlError(f"its metric is over {counted} documents, and {samples.name} has {len(items)}")
    return TaskResult(value * 100.0 / benchmark.scale, metric, items, " and ".join(sorted(judges)) or "scorer")


def _value(block: Mapping[str, Any], benchmark: Benchmark) -> tuple[str, float]:
    """Return the metric's name and its value on upstream's scale."""
    metrics = {
        name: value
        for name, value in block.items()
        if "," in name and "_stderr" not in name and not name.startswith("ovrl")
    }
    name = benchmark.metric or (next(iter(metrics)) if len(metrics) == 1 else None)
    if name is None:
        raise MetricError(f"it has the metrics {', '.join(metrics) or 'none'}; ovrl shows one of a task")
    if name not in metrics:
        raise MetricError(f"it has no metric {name!r}, but {', '.join(metrics) or 'none'}")
    value = number(metrics[name])
    if value is None:
        raise MetricError(f"its metric {name!r} is {metrics[name]!r}, and no number")
    return name, value


def number(value: Any) -> float | None:
    """Return a metric's value as a number: tasks write 0.694, 69.4 and "69.40%"; None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value.strip().removesuffix("%"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _items(samples: Path, finishes: Path) -> tuple[dict[str, Any], ...]:
    ended = {line["doc_id"]: line for line in _lines(finishes)}
    return tuple(
        {
            "doc_id": line["doc_id"],
            "target": line.get("target"),
            **line.get("ovrl", {"answered": None, "answer": None, "score": None}),
            "finish_reason": ended.get(line["doc_id"], {}).get("finish_reason"),
            "tokens": ended.get(line["doc_id"], {}).get("tokens"),
        }
        for line in sorted(_lines(samples), key=lambda line: line["doc_id"])
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise OvrlError(f"it did not write {path.name}")
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]
