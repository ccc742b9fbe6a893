"""Find what earlier commands wrote, and read it leniently: a run in progress is shown, not refused."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.errors import UsageError

log = logging.getLogger(__name__)

Record = Mapping[str, Any]

KINDS = ("train", "warmup", "curate", "eval", "rollout", "score")
"""Commands whose outputs are shown."""

BENCHMARKS = "ovrl.benchmarks/1"
"""Schema of the results of `ovrl eval --tasks`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One output of one command, as its manifest tells."""

    path: Path
    """The directory, or the file that a manifest stands beside."""
    name: str
    """Its path below the directory that is reported on."""
    kind: str
    complete: bool
    manifest: Record

    @property
    def started(self) -> str:
        """Return when it was begun, in ISO format, which also sorts."""
        return str(self.manifest.get("started") or "")

    def file(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.path / name if self.path.is_dir() else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRun:
    """A `train` or `warmup` run."""

    step: Step
    metrics: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurateOutput:
    """What `curate` wrote."""

    step: Step
    rows: tuple[Record, ...]
    summary: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOutput:
    """One evaluation."""

    step: Step
    results: Record
    items: Mapping[str, Record]
    """By sample id."""

    @property
    def mode(self) -> str:
        """Return "fast" or "thinking", or "unknown" for a run that has not come so far."""
        return str(self.results.get("mode") or "unknown")

    @property
    def accuracies(self) -> dict[str, float]:
        """Return the mean accuracy of each sample."""
        found = {name: number(item.get("accuracy")) for name, item in self.items.items()}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything found below a directory, each list in chronological order."""

    steps: tuple[Step, ...]
    train: tuple[TrainRun, ...]
    warmup: tuple[TrainRun, ...]
    curate: tuple[CurateOutput, ...]
    evals: tuple[EvalOutput, ...]
    benchmarks: tuple[EvalOutput, ...]
    """Evaluations by `ovrl eval --tasks`."""


def gather(source: Path) -> Findings:
    """Return what can be shown of `source`.

    Raises:
        UsageError: there is no such directory, or nothing in it that we know.
    """
    if not source.exists():
        raise UsageError(f"{source} does not exist; give a run directory, or the output of an ovrl command")
    steps = tuple(sorted(_steps(source), key=lambda step: (step.started, step.name)))
    if not steps:
        raise UsageError(
            f"{source} holds no output of ovrl {', '.join(KINDS)}; give a directory with a {store.MANIFEST} "
            "in it or below it, such as the one that `ovrl train -o` or `ovrl demo -o` wrote"
        )
    evals = [_eval(step) for step in steps if step.kind == "eval"]
    return Findings(
        steps=steps,
        train=tuple(_train(step) for step in steps if step.kind == "train"),
        warmup=tuple(_train(step) for step in steps if step.kind == "warmup"),
        curate=tuple(_curate(step) for step in steps if step.kind == "curate"),
        evals=tuple(one for one in evals if one.results.get("schema") != BENCHMARKS),
        benchmarks=tuple(one for one in evals if one.results.get("schema") == BENCHMARKS),
    )


def _steps(source: Path) -> Iterator[Step]:
    """Yield the outputs below `source`: directories, and single files with a manifest beside them."""
    if source.is_file():
        manifests = [source.with_name(f"{source.name}.{store.MANIFEST}")]
    else:
        manifests = sorted(source.rglob(f"*{store.MANIFEST}"))
    for file in manifests:
        content = read_json(file)
        kind = _kind(content.get("command"))
        if kind is None:
            continue
        if file.name == store.MANIFEST:
            path, complete = file.parent, (file.parent / store.SUCCESS).exists()
        elif _kind(read_json(file.with_name(store.MANIFEST)).get("command")):
            continue  # part of an output that is shown as a whole, as the completions of an evaluation are
        else:
            path = file.with_name(file.name.removesuffix(f".{store.MANIFEST}"))
            complete = path.exists()
        name = str(path.relative_to(source)) if source.is_dir() else path.name
        yield Step(
            path=path,
            name=source.resolve().name if name == "." else name,
            kind=kind,
            complete=complete,
            manifest=content,
        )


def _kind(command: Any) -> str | None:
    """Return the known command in the manifest's `command`, which may be "train" or "train --stage 1"."""
    words = command.split() if isinstance(command, str) else []
    return next((word for word in reversed(words) if word in KINDS), None)


def _train(step: Step) -> TrainRun:
    rows = [row for row in read_lines(step.file("metrics.jsonl")) if number(row.get("step")) is not None]
    by_step = {row["step"]: row for row in rows}  # a resumed run may say a step twice; the last one counts
    return TrainRun(step=step, metrics=tuple(by_step[index] for index in sorted(by_step)))


def _curate(step: Step) -> CurateOutput:
    return CurateOutput(
        step=step,
        rows=tuple(read_lines(step.file("curation.jsonl"))),
        summary=read_json(step.file("summary.json")),
    )


def _eval(step: Step) -> EvalOutput:
    lines = read_lines(step.file("items.jsonl"))
    return EvalOutput(
        step=step,
        results=read_json(step.file("results.json")),
        items={str(line["sample_id"]): line for line in lines if "sample_id" in line},
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in the file; an empty one when there is none, or it is not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON lines file, if it is there; torn and foreign lines are left out."""
    if not path.is_file():
        return
    skipped = 0
    with store.open_text(str(path)) as stream:
        for _, record in store.read_jsonl(stream, str(path)):
            if isinstance(record, dict):
                yield record
            else:
                skipped += 1
    if skipped:
        log.warning("%s: %d lines that cannot be read are not shown", path, skipped)


def number(value: Any) -> float | None:
    """Return the value as a finite float, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def mapping(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
