"""`ovrl warmup`: a short supervised start for a model that does not know the form of the answers yet."""

from typing import Annotated, Any

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.selection import Selection

EXAMPLES = (
    "ovrl warmup -i demo/data/warmup.parquet --model tiny --steps 2 --limit 64 -o cold",
    "ovrl warmup -i demo/data/warmup.parquet --model demo/base --steps 2 --limit 64 -o warmer",
)

TINY = "tiny"


@command
def warmup(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Model directory or hub id, or `tiny`: made here.")
    ],
    output: options.OutputDirectory,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Take the model from the cache if the same was made before.")
    ] = False,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train on the answers themselves: cross-entropy on the reply, none on the prompt."""
    from ovrl.cli.inputs import count_samples, describe_inputs
    from ovrl.cli.model_cache import ModelCache
    from ovrl.rejects import Rejects, check_counts
    from ovrl.samples import read_samples
    from ovrl.store import Directory
    from ovrl.train.warmup_settings import WarmupSettings

    settings = session.resolve("warmup", WarmupSettings, steps=steps, lr=lr).value
    source = options.one_input(source, source_option)
    selection = Selection.parse(limit, shard)
    inputs = describe_inputs(source, model=None if model == TINY else model)
    identity = session.identity("warmup", settings, inputs, selection, made_here=model == TINY)
    if dry_run:
        render.summary(session, "warmup (dry run)", count_samples(source, selection))
        return
    rejected = options.rejects_file(rejects, str(output))
    with Directory(output, identity, overwrite=overwrite) as directory:
        already = options.already(directory.finished)
        if not directory.finished:
            kept = ModelCache(identity) if cache else None
            bad = Rejects(rejected)
            if kept is not None and kept.restore(output):
                counts: dict[str, Any] = {"steps": settings.steps, "from_cache": True}
            else:
                samples = list(read_samples(source, bad, selection))
                from ovrl.train.warmup_launch import launch

                with render.steps(session, "warmup", settings.steps) as on_step:
                    launch(samples, model, output, settings, rejects=bad, seed=session.seed, on_step=on_step)
                counts = {"steps": settings.steps, "samples": len(samples), **bad.counts()}
                if kept is not None:
                    kept.keep(output)
            directory.finish(counts, ["model.safetensors", "metrics.jsonl"])
        counts = directory.counts
    render.summary(session, "warmup", {**counts, "output": str(output)} | already)
    check_counts(counts, fail_on, str(rejected))
