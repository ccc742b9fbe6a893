"""Run benchmarks through lmms-eval: one process for each, so that what is finished stays finished.

OUT/tasks/           the overlay
OUT/runs/NAME/       lmms-eval's own files, its log, and `result.json` when the benchmark is done
OUT/items.jsonl      one line for each document of each benchmark
OUT/results.json     values in percent with intervals
"""

import json
import logging
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.errors import MetricError, OvrlError
from ovrl.eval.intervals import Interval, bootstrap_mean
from ovrl.eval.lmms import overlay, results, suite, task_files
from ovrl.eval.lmms.environment import Environment
from ovrl.eval.lmms.harness.adapters import adapter
from ovrl.eval.lmms.suite import Benchmark
from ovrl.eval.settings import EvalSettings
from ovrl.selection import Selection

log = logging.getLogger(__name__)

RESULTS, ITEMS = "results.json", "items.jsonl"
_DONE = "result.json"
_TAIL = 3
"""Lines of a failed run's log that are shown where it tells of no exception."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CHAINED = re.compile(r"\n\n(?:The above exception was the direct cause|During handling of the above exception)")
_RAISED = re.compile(r"^[\w.]+(?:Error|Exception|Interrupt)\b.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured, and how."""

    benchmarks: tuple[Benchmark, ...]
    model: str
    mode: str
    settings: EvalSettings
    selection: Selection
    seed: int
    include: Path | None = None
    """Folder of further task files."""


def check(plan: Plan, environment: Environment) -> dict[str, Path]:
    """Return the upstream task file of each benchmark.

    Raises:
        UsageError: there is none for one of them.
    """
    own = () if plan.include is None else (plan.include.resolve(),)
    folders = (environment.tasks, suite.TASKS, *own)
    known = task_files.index(folders)
    for benchmark in plan.benchmarks:
        if benchmark.task not in known:
            raise suite.unknown(benchmark.task, known)
        if benchmark.unverified:
            log.warning("%s: %s", benchmark.name, benchmark.unverified)
    return {benchmark.name: known[benchmark.task] for benchmark in plan.benchmarks}


def run(plan: Plan, environment: Environment, out: Path, on_done: Callable[[int], None]) -> dict[str, Any]:
    """Measure what is not measured yet, and write `items.jsonl` and `results.json`; return the results.

    Args:
        plan: what to measure.
        environment: where lmms-eval is.
        out: the output directory; the caller owns its manifest.
        on_done: told how many benchmarks are new.

    Raises:
        UsageError: a benchmark is unknown or cannot be evaluated so.
        MetricError: a benchmark ran, and its metric is missing.
        OvrlError: a benchmark did not run; those that did are kept.
    """
    files = check(plan, environment)
    tasks = out / "tasks"
    tasks.mkdir(exist_ok=True)
    for benchmark in plan.benchmarks:
        overlay.write(
            benchmark,
            files[benchmark.name],
            tasks,
            mode=plan.mode,
            shard=plan.selection.shard,
            max_new_tokens=plan.settings.sampling.max_new_tokens,
        )
    failed: dict[str, OvrlError] = {}
    for benchmark in plan.benchmarks:
        folder = out / "runs" / benchmark.name
        if (folder / _DONE).exists():
            continue
        try:
            _measure(plan, benchmark, environment, tasks, folder)
        except OvrlError as error:
            log.error("%s: %s", benchmark.name, error)
            failed[benchmark.name] = error
        on_done(1)
    if failed:
        kind = MetricError if all(isinstance(error, MetricError) for error in failed.values()) else OvrlError
        first = next(iter(failed))
        more = f"; also {', '.join(list(failed)[1:])}" if len(failed) > 1 else ""
        raise kind(f"{first}: {failed[first]}{more}. What is done is kept: the same command goes on")
    return _summarize(plan, environment, out)


def read(out: Path) -> dict[str, Any]:
    """Return the results of a finished run."""
    return json.loads((out / RESULTS).read_text(encoding="utf-8"))


def _measure(plan: Plan, benchmark: Benchmark, environment: Environment, tasks: Path, folder: Path) -> None:
    """Run one benchmark and write its `result.json`."""
    if folder.exists():  # an earlier attempt: lmms-eval would append to its samples
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    finishes, log_file, told = folder / "finishes.jsonl", folder / "lmms-eval.log", folder / "model.json"
    finishes.touch()
    store.write_json(
        told,
        {
            "model": plan.model,
            "engine": plan.settings.engine.model_dump(mode="json"),
            "max_pixels": plan.settings.max_pixels,
            "seed": plan.seed,
            "log": str(finishes.resolve()),
        },
    )
    task = overlay.name(benchmark, plan.mode)
    command = [
        str(environment.python),
        str(Path(__file__).with_name("harness") / "launch.py"),
        *(f"{name}={value}" for name, value in adapter(benchmark.task).environment.items()),
        *("--model", "ovrl", "--model_args", f"settings={told.resolve()}", "--tasks", task),
        *("--include_path", str(tasks.resolve()), "--output_path", str((folder / "output").resolve())),
        *("--log_samples", "--batch_size", "1", "--seed", str(plan.seed), "--reasoning_tags", "none"),
        *(("--limit", str(plan.selection.limit)) if plan.selection.limit is not None else ()),
    ]
    with log_file.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    try:
        result = results.read(folder / "output", task, benchmark, finishes)
    except MetricError:
        raise
    except OvrlError as error:
        raise OvrlError(f"{error}; {log_file} says: {_tail(log_file)}") from error
    store.write_json(folder / _DONE, asdict(result))


def _tail(log_file: Path) -> str:
    """Return the exception that the log tells of, the first of a chain; without one, the last lines."""
    text = _COLOUR.sub("", log_file.read_text(encoding="utf-8", errors="replace"))
    raised = _RAISED.findall(_CHAINED.split(text)[0])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return raised[-1] if raised else " | ".join(lines[-_TAIL:]) or "nothing"


def _summarize(plan: Plan, environment: Environment, out: Path) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    lines: list[str] = []
    for benchmark in plan.benchmarks:
        done = json.loads((out / "runs" / benchmark.name / _DONE).read_text())
        lines += [store.dumps({"benchmark": benchmark.name, **item}) + "\n" for item in done["items"]]
        rows[benchmark.name] = _row(benchmark, done, plan.seed)
    store.write_atomic(out / ITEMS, "".join(lines))
    content = {
        "schema": "ovrl.benchmarks/1",
        "model": plan.model,
        "mode": plan.mode,
        "lmms_eval": environment.version,
        "benchmarks": rows,
        "groups": averages(rows),
    }
    store.write_json(out / RESULTS, content)
    return content


def _row(benchmark: Benchmark, done: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return what `results.json` says of one benchmark."""
    items = done["items"]
    interval = spread(done["value"], [item["score"] for item in items], seed)
    count = max(1, len(items))
    return {
        "value": done["value"],
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "items": len(items),
        "metric": done["metric"],
        "task": benchmark.task,
        "title": benchmark.title,
        "group": benchmark.group,
        "judge": done.get("judge", "scorer"),
        "no_answer_rate": sum(item["answered"] is False for item in items) / count,
        "truncated_rate": sum(item["finish_reason"] == "length" for item in items) / count,
        "refused": sum(item["finish_reason"] == "refused" for item in items),
    }


def spread(value: float, scores: Sequence[float | None], seed: int) -> Interval | None:
    """Return the 95 % interval of a benchmark in percent, or None when its documents have no scores.

    The bootstrap over documents gives the width; it stands around the benchmark's own value, which may be a mean
    over categories and not over documents.
    """
    known = [score for score in scores if score is not None]
    if len(known) < len(scores) or not known:
        return None
    drawn = bootstrap_mean(known, seed)
    low, high = (value + 100.0 * (end - drawn.mean) for end in (drawn.low, drawn.high))
    return Interval(value, max(0.0, low), min(100.0, high))


def averages(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of the values of each group."""
    groups: dict[str, list[float]] = {}
    for row in rows.values():
        groups.setdefault(row["group"], []).append(row["value"])
    return {group: statistics.fmean(values) for group, values in groups.items()}
