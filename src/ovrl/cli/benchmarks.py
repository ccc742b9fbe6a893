"""`ovrl eval --tasks`: benchmarks through lmms-eval."""

import os
from pathlib import Path
from typing import Any

from ovrl.cli import render
from ovrl.cli.session import Session
from ovrl.errors import MetricError
from ovrl.selection import Selection

_THINKING_TOKENS = 16384
"""Room for a chain of thought when nobody says how much."""


def run(
    session: Session,
    tasks: str,
    *,
    model: str,
    mode: str,
    output: Path,
    max_new_tokens: int | None,
    floors: list[tuple[str, float]],
    baseline: Path | None,
    include: Path | None,
    selection: Selection,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Run what is missing, show the table, and check the floors."""
    from ovrl.cli.inputs import describe_inputs
    from ovrl.eval.lmms import baseline as baselines
    from ovrl.eval.lmms import environment, runner, suite
    from ovrl.eval.settings import EvalSettings
    from ovrl.store import Directory

    resolved = session.resolve("eval", EvalSettings, sampling__max_new_tokens=max_new_tokens)
    settings = resolved.value
    if mode == "thinking" and resolved.origins.get("sampling.max_new_tokens", "default") == "default":
        settings = session.resolve("eval", EvalSettings, sampling__max_new_tokens=_THINKING_TOKENS).value
    benchmarks = suite.choose(tasks)
    found = environment.find(os.environ.get(environment.VARIABLE))
    plan = runner.Plan(
        benchmarks=tuple(benchmarks),
        model=model,
        mode=mode,
        settings=settings,
        selection=selection,
        seed=session.seed,
        include=include,
    )
    files = runner.check(plan, found)
    inputs = describe_inputs(model=model, engine=settings.engine.engine)
    names = [benchmark.name for benchmark in benchmarks]
    identity = session.identity("eval", settings, inputs, selection, mode=mode, tasks=names, lmms_eval=found.version)
    if dry_run:
        render.summary(session, "eval (dry run)", {"benchmarks": len(files), "lmms_eval": found.version})
        return
    with Directory(output, identity, overwrite=overwrite) as directory:
        if not directory.finished:
            with render.progress(session, f"eval {mode}", len(benchmarks)) as advance:
                results = runner.run(plan, found, directory.path, advance)
            counts = {"benchmarks": len(results["benchmarks"]), "items": _items(results)}
            directory.finish(counts, [runner.RESULTS, runner.ITEMS])
    results = runner.read(output)
    gains = baselines.compare(baseline, output, session.seed) if baseline else {}
    _show(session, results, gains, str(output))
    for name, floor in floors:
        _check(results, name, floor)


def _items(results: dict[str, Any]) -> int:
    return sum(row["items"] for row in results["benchmarks"].values())


def _show(session: Session, results: dict[str, Any], gains: dict[str, Any], output: str) -> None:
    rows = results["benchmarks"]
    shown = ["percent", "low", "high", "no answer", "truncated", "items", "judged by"]
    columns = ["", *shown, *(["gain", "from", "to"] * bool(gains))]
    cells = ("value", "low", "high", "no_answer_rate", "truncated_rate", "items", "judge")
    lines = [
        [row["title"], *(_cell(row[cell]) for cell in cells), *_gain_cells(gains, name)] for name, row in rows.items()
    ]
    render.table(session, f"{results['model']}, {results['mode']}", columns, lines)
    values = {name: row["value"] for name, row in rows.items()}
    more = {"gains": {name: gain["gain"] for name, gain in gains.items()}} if gains else {}
    render.summary(session, "eval", {**values, **more, "mode": results["mode"], "output": output})


def _cell(value: float | str | None) -> Any:
    return "-" if value is None else value


def _gain_cells(gains: dict[str, Any], name: str) -> list[Any]:
    if not gains:
        return []
    gain = gains.get(name, {})
    return [_cell(gain.get(cell)) for cell in ("gain", "low", "high")]


def _check(results: dict[str, Any], name: str, floor: float) -> None:
    """Raise when a benchmark is missing or below its floor, in percent."""
    row = results["benchmarks"].get(name)
    if row is None:
        raise MetricError(f"--min {name}: it was not measured; there are {', '.join(results['benchmarks'])}")
    if row["value"] < floor:
        raise MetricError(f"{name} is {row['value']:.4g} %, below --min {floor:g}")
