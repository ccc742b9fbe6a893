"""`ovrl train`: samples and a model in, a run directory out."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrl import log
from ovrl.cli import live, options, render
from ovrl.cli.session import Session, command
from ovrl.errors import UsageError
from ovrl.selection import Selection

if TYPE_CHECKING:
    from ovrl.records import Sample
    from ovrl.rejects import Rejects
    from ovrl.train.settings import TrainSettings
    from ovrl.train.validate import ValidateSettings

_OUTPUTS = ("config.yaml", "metrics.jsonl", "journal.jsonl", "trajectories", "final")

EXAMPLES = (
    "ovrl train --stage 1 -i demo/curated/stage1 --model demo/base --preset tiny --steps 2 -o run1",
    "ovrl train --stage 2 -i demo/curated/stage2 --from run1 --preset tiny --steps 2 -o run2",
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
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Model directory or hub id.")] = None,
    source_run: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Start from its final model.")
    ] = None,
    output: options.OutputDirectory,
    preset: Annotated[str, typer.Option(help="Settings to start from: default, ov15, tiny.")] = "default",
    steps: Annotated[int | None, typer.Option(help="Optimizer steps (default: 1000).")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate (default: 2e-6).")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Also tell tensorboard, wandb or trackio.")] = None,
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
    validate = _watching(session, track or ())
    model = _first_policy(model, source_run)
    source = options.one_input(source, source_option)
    selection = Selection.parse(limit, shard)
    inputs = describe_inputs(source, model=model)
    if dry_run:
        _try(session, source, selection, settings)
        return
    if int(os.environ.get("RANK", "0")):  # `accelerate launch` started several of us; the first one does the talking
        _follow(session, list(_read(source, Rejects(None), selection, stage)), settings)
        return
    identity = session.identity("train", settings, inputs, selection, stage=stage)
    rejected = options.rejects_file(rejects, str(output))
    with Directory(output, identity, overwrite=overwrite) as run:
        already = options.already(run.finished)
        if not run.finished:
            bad = Rejects(rejected, keep=True)
            samples = list(_read(source, bad, selection, stage))
            figures = _launch(session, samples, model, output, settings, validate, bad, stage=stage, track=track or ())
            run.finish(figures | bad.counts(), _OUTPUTS)
        else:
            _dismiss(settings)
        counts = run.counts
    render.summary(session, f"train stage {stage}", {**counts, "output": str(output)} | already)
    check_counts(counts, fail_on, str(rejected))


def _watching(session: Session, track: Sequence[str]) -> "ValidateSettings":
    """Return the settings of the validation, once they and the trackers are known to be in order."""
    from ovrl.train.trackers import check
    from ovrl.train.validate import ValidateSettings

    validate = session.resolve("validate", ValidateSettings).value
    validate.check()
    check(track)
    return validate


def _try(session: Session, source: str, selection: Selection, settings: "TrainSettings") -> None:
    """Count the samples, see that there is such a method, and do nothing else."""
    from ovrl.rejects import Rejects
    from ovrl.train.recipe import make
    from ovrl.train.schedule import Schedule

    make(settings, seed=session.seed)
    Schedule(settings)
    bad = Rejects(None)
    count = sum(1 for _ in _read(source, bad, selection, stage=1))
    render.summary(session, "train (dry run)", {"samples": count, "rejected": bad.count, "steps": settings.steps})


def _read(source: str, bad: "Rejects", selection: Selection, stage: int) -> "Iterator[Sample]":
    """Yield the samples in the mode of the stage."""
    from ovrl.samples import read_samples

    for sample in read_samples(source, bad, selection):
        yield sample.with_prompt_type("normal") if stage == 1 else sample


def _follow(session: Session, samples: "list[Sample]", settings: "TrainSettings") -> None:
    """Do what the first rank says, in silence."""
    from ovrl.train.launch import follow

    log.set_up("quiet")
    follow(samples, settings, seed=session.seed)


def _dismiss(settings: "TrainSettings") -> None:
    """Send the other processes home, if `accelerate launch` started any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from ovrl.train.launch import dismiss

        dismiss(settings)


def _launch(
    session: Session,
    samples: "list[Sample]",
    model: str,
    output: Path,
    settings: "TrainSettings",
    validate: "ValidateSettings",
    bad: "Rejects",
    *,
    stage: int,
    track: Sequence[str],
) -> dict[str, Any]:
    """Run the training, with what is to be seen of it, and return its counts."""
    from ovrl.train.launch import launch
    from ovrl.train.trackers import open_trackers
    from ovrl.train.validate import Validation

    tell = open_trackers(track, output, settings.model_dump(mode="json"))
    validation = Validation(output, validate, settings, stage=stage, seed=session.seed)
    with live.watching(session, f"train stage {stage}", settings.steps) as show:

        def on_step(line: dict[str, Any]) -> None:
            show(line)
            tell(line)

        return launch(
            samples, model, output, settings, rejects=bad, seed=session.seed, on_step=on_step, validation=validation
        )


def _first_policy(model: str | None, run: Path | None) -> str:
    """Return the model that the run starts from.

    Raises:
        UsageError: it is given twice or not at all, or the run that it is to come from has not ended.
    """
    if (model is None) == (run is None):
        raise UsageError("give either --model MODEL or --from RUN")
    if run is None:
        assert model is not None
        return model
    if not (run / "final").is_dir():
        raise UsageError(f"{run} has no final model; let that run end, or give --model with one of its checkpoints")
    return str(run / "final")
