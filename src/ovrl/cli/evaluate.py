"""`ovrl eval`: a model and held-out samples in, accuracy with intervals out."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ovrl.cli import benchmarks, options, render
from ovrl.cli.session import Session, command
from ovrl.errors import MetricError, UsageError
from ovrl.selection import Selection

EXAMPLES = (
    "ovrl eval --model demo/base --samples demo/data/heldout.parquet --limit 16 -n 2 -o eval-base",
    "ovrl eval --model demo/stage2/final --samples demo/data/heldout.parquet --mode thinking --limit 16 -n 2 -o eval-2",
)


@command
def evaluate(
    session: Session,
    *,
    model: options.Model,
    output: options.OutputDirectory,
    samples: Annotated[str | None, typer.Option("--samples", metavar="PATH", help="Held-out samples.")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Benchmarks through lmms-eval; all: those of the published table."),
    ] = None,
    mode: Annotated[
        Literal["fast", "thinking"], typer.Option(help="fast: answer only; thinking: chain of thought.")
    ] = "fast",
    n: Annotated[int | None, typer.Option("-n", help="Completions for each sample (default: 4).")] = None,
    k: Annotated[int | None, typer.Option("-k", help="k of pass@k (default: n).")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest completion (default: 4096).")] = None,
    floors: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="METRIC=VALUE", help="Exit with 4 below this: accuracy=0.5, mathvista=70."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An earlier --tasks run; shows gains with paired intervals.")
    ] = None,
    include_path: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Further task files of lmms-eval.", exists=True, file_okay=False)
    ] = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Measure a model on a samples file or on benchmarks: accuracy with a 95 % interval."""
    limits = [_floor(text) for text in floors or ()]
    selection = Selection.parse(limit, shard)
    if (samples is None) == (tasks is None):
        raise UsageError("give what to evaluate on: --samples FILE, or --tasks NAMES")
    common: dict[str, Any] = {"model": model, "output": output, "mode": mode, "floors": limits, "selection": selection}
    common |= {"overwrite": overwrite, "dry_run": dry_run}
    if tasks is not None:
        if misplaced := [flag for flag, value in {"-n": n, "-k": k, "--rejects": rejects}.items() if value is not None]:
            raise UsageError(f"{', '.join(misplaced)}: for --samples; a benchmark asks once for each document")
        benchmarks.run(session, tasks, max_new_tokens=max_new_tokens, baseline=baseline, include=include_path, **common)
        return
    assert samples is not None
    given = {"n": n, "k": k, "sampling__max_new_tokens": max_new_tokens}
    _on_samples(session, samples, settings=given, rejects=rejects, fail_on=fail_on, **common)


def _on_samples(
    session: Session,
    samples: str,
    *,
    model: str,
    output: Path,
    mode: str,
    settings: dict[str, Any],
    floors: list[tuple[str, float]],
    selection: Selection,
    rejects: Path | None,
    fail_on: str,
    overwrite: bool,
    dry_run: bool,
) -> None:
    from ovrl.cli.inputs import describe_inputs
    from ovrl.eval.settings import EvalSettings
    from ovrl.rejects import Rejects, check_allowance
    from ovrl.samples import read_samples
    from ovrl.store import Directory

    resolved = session.resolve("eval", EvalSettings, **settings).value
    inputs = describe_inputs(samples, model=model, engine=resolved.engine.engine)
    identity = session.identity("eval", resolved, inputs, selection, mode=mode)
    if dry_run:
        bad = Rejects(None)
        count = sum(1 for _ in read_samples(samples, bad, selection))
        render.summary(session, "eval (dry run)", {"samples": count, "rejected": bad.count})
        return
    with Directory(output, identity, overwrite=overwrite) as directory:
        bad = Rejects(options.rejects_file(rejects, str(output)), keep=True)
        held_out = list(read_samples(samples, bad, selection))
        if not directory.finished:
            _run(session, held_out, resolved, identity, directory, bad, model=model, mode=mode)
    results = _results(output)
    _show(session, results, str(output))
    for name, floor in floors:
        _check(results, name, floor)
    where = str(output / "rejects.jsonl")
    check_allowance(bad.count, len(held_out) + bad.count, fail_on, where, lost_files=bad.lost_files)


def _run(
    session: Session,
    held_out: Any,
    settings: Any,
    identity: Any,
    directory: Any,
    bad: Any,
    *,
    model: str,
    mode: str,
) -> None:
    from ovrl.eval.local import ITEMS, RESULTS
    from ovrl.eval.local import evaluate as run_evaluation
    from ovrl.plugins import resolve
    from ovrl.rollout.table import ENGINES

    engine = settings.engine
    with render.progress(session, f"eval {mode}", len(held_out) * settings.n) as advance:
        results = run_evaluation(
            held_out,
            lambda: resolve(engine.engine, ENGINES, "engine")(model, engine),
            directory.path,
            settings,
            identity=identity,
            mode="normal" if mode == "fast" else "thinking",
            model=model,
            rejects=bad,
            on_done=advance,
        )
    directory.finish({"samples": results["samples"], "rejected": bad.count}, [RESULTS, ITEMS])


def _results(output: Any) -> dict[str, Any]:
    import json

    return json.loads((output / "results.json").read_text())


def _show(session: Session, results: dict[str, Any], output: str) -> None:
    rows = [("all", results["overall"]), *results["by_source"].items()]
    columns = ("", "accuracy", "low", "high", f"pass@{results['k']}", "samples")
    cells = ("accuracy", "low", "high", "pass_at_k", "items")
    title = f"{results['model']}, {results['mode']}, {results['n']} completions for each sample"
    render.table(session, title, columns, ((name, *(row[cell] for cell in cells)) for name, row in rows))
    overall = {cell: results["overall"][cell] for cell in cells}
    render.summary(session, "eval", {**overall, "mode": results["mode"], "output": output})


def _floor(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise UsageError(f"--min {text!r}: give METRIC=VALUE, such as accuracy=0.5") from error


def _check(results: dict[str, Any], name: str, floor: float) -> None:
    """Raise when a metric is missing or too low; `counting.accuracy` is that of one source."""
    head, _, leaf = name.rpartition(".")
    block = results["overall"] if not head else results["by_source"].get(head, {})
    value = block.get(leaf)
    if value is None:
        known = ", ".join([*results["overall"], *(f"{source}.accuracy" for source in results["by_source"])])
        raise MetricError(f"--min {name}: no such metric was measured; there are {known}")
    if value < floor:
        raise MetricError(f"{name} is {value:.4g}, below --min {floor:g}")
