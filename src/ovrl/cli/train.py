"""`ovrl train`: samples and a model in, a run directory out."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ovrl import log
from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.errors import UsageError
from ovrl.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovrl.records import Sample
    from ovrl.rejects import Rejects
    from ovrl.train.settings import TrainSettings

_OUTPUTS = ("config.yaml", "metrics.jsonl", "journal.jsonl", "trajectories", "final")

EXAMPLES = (
    "ovrl train --stage 1 -i demo/curated/stage1 --model demo/base --preset tiny --steps 2 -o run1",
    "ovrl train --stage 2 -i demo/curated/stage2 --model run1/final --preset tiny --steps 2 -o run2",
)


@command
def train(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    stage: Annotated[
        int, typer.Option(help="1: answer only; 2: each sample in its own mode, chain of thought included.")
    ],
    model: options.Model,
    output: options.OutputDirectory,
    preset: Annotated[str, typer.Option(help="Settings to start from: default, tiny.")] = "default",
    steps: Annotated[int | None, typer.Option(help="Optimizer steps (default: 1000).")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate (default: 2e-6).")] = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train by GRPO. Resumable: stopped at any moment, the same command goes on from the last checkpoint."""
    from ovrl.cli.inputs import describe_inputs
    from ovrl.rejects import Rejects, check_counts
    from ovrl.store import Directory
    from ovrl.train.settings import TrainSettings, load_preset

    if stage not in (1, 2):
        raise UsageError(f"--stage {stage}: there are stages 1 and 2")
    settings = session.resolve("train", TrainSettings, preset=load_preset(preset), steps=steps, optimizer__lr=lr).value
    source = options.one_input(source, source_option)
    selection = Selection.parse(limit, shard)
    inputs = describe_inputs(source, model=model)
    if dry_run:
        bad = Rejects(None)
        count = sum(1 for _ in _read(source, bad, selection, stage))
        render.summary(session, "train (dry run)", {"samples": count, "rejected": bad.count, "steps": settings.steps})
        return
    if int(os.environ.get("RANK", "0")):  # `accelerate launch` started several of us; the first one does the talking
        _follow(list(_read(source, Rejects(None), selection, stage)), settings)
        return
    identity = session.identity("train", settings, inputs, selection, stage=stage)
    rejected = options.rejects_file(rejects, str(output))
    with Directory(output, identity, overwrite=overwrite) as run:
        already = options.already(run.finished)
        if not run.finished:
            bad = Rejects(rejected, keep=True)
            samples = list(_read(source, bad, selection, stage))
            from ovrl.train.launch import launch

            with render.steps(session, f"train stage {stage}", settings.steps) as on_step:
                figures = launch(samples, model, output, settings, rejects=bad, seed=session.seed, on_step=on_step)
            run.finish(figures | bad.counts(), _OUTPUTS)
        elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from ovrl.train.launch import dismiss

            dismiss(settings)
        counts = run.counts
    render.summary(session, f"train stage {stage}", {**counts, "output": str(output)} | already)
    check_counts(counts, fail_on, str(rejected))


def _read(source: str, bad: "Rejects", selection: Selection, stage: int) -> "Iterator[Sample]":
    """Yield the samples in the mode of the stage."""
    from ovrl.samples import read_samples

    for sample in read_samples(source, bad, selection):
        yield sample.with_prompt_type("normal") if stage == 1 else sample


def _follow(samples: "list[Sample]", settings: "TrainSettings") -> None:
    """Do what the first rank says, in silence."""
    from ovrl.train.launch import follow

    log.set_up("quiet")
    follow(samples, settings)
