"""`ovrl eval`: a model and held-out samples in, accuracy with intervals out."""

from typing import Annotated, Any, Literal

import typer

from ovrl.cli import options, render
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
    samples: Annotated[str, typer.Option("--samples", metavar="PATH", help="Held-out samples.")],
    output: options.OutputDirectory,
    mode: Annotated[
        Literal["fast", "thinking"], typer.Option(help="fast: answer only; thinking: chain of thought.")
    ] = "fast",
    n: Annotated[int | None, typer.Option("-n", help="Completions for each sample (default: 4).")] = None,
    k: Annotated[int | None, typer.Option("-k", help="k of pass@k (default: n).")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest completion (default: 4096).")] = None,
    floors: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="METRIC=VALUE", help="Exit with 4 below this, such as accuracy=0.5."),
    ] = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Measure a model on a samples file: mean accuracy over n completions, with a 95 % interval."""
    from ovrl.cli.inputs import describe_inputs
    from ovrl.eval.settings import EvalSettings
    from ovrl.rejects import Rejects, check_allowance
    from ovrl.samples import read_samples
    from ovrl.store import Directory

    settings = session.resolve("eval", EvalSettings, n=n, k=k, sampling__max_new_tokens=max_new_tokens).value
    limits = [_floor(text) for text in floors or ()]
    selection = Selection.parse(limit, shard)
    inputs = describe_inputs(samples, model=model, engine=settings.engine.engine)
    identity = session.identity("eval", settings, inputs, selection, mode=mode)
    if dry_run:
        bad = Rejects(None)
        count = sum(1 for _ in read_samples(samples, bad, selection))
        render.summary(session, "eval (dry run)", {"samples": count, "rejected": bad.count})
        return
    with Directory(output, identity, overwrite=overwrite) as directory:
        bad = Rejects(options.rejects_file(rejects, str(output)), keep=True)
        held_out = list(read_samples(samples, bad, selection))
        if not directory.finished:
            _run(session, held_out, settings, identity, directory, bad, model=model, mode=mode)
    results = _results(output)
    _show(session, results, str(output))
    for name, floor in limits:
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
