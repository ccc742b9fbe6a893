"""`ovrl demo`: the whole chain on this machine, as the public commands that it echoes."""

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ovrl.cli import render
from ovrl.cli.session import Session, command
from ovrl.errors import OvrlError

EXAMPLES = ("ovrl demo demo --quick", "ovrl demo demo-7 --quick --seed 7")

_BASE_SEED = 0
"""The base model is the same for every seed of the demo, as a released one would be."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    warmup: int
    warmup_steps: int
    doubt: int
    doubt_steps: int
    pool: int
    n: int
    heldout: int
    eval_n: int
    steps: int


FULL = Size(
    warmup=12000, warmup_steps=1500, doubt=1600, doubt_steps=100, pool=1024, n=16, heldout=400, eval_n=4, steps=80
)
QUICK = Size(warmup=2400, warmup_steps=300, doubt=320, doubt_steps=20, pool=256, n=16, heldout=128, eval_n=4, steps=12)


@command
def demo(
    session: Session,
    *,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the chain runs.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Smaller, in at most three minutes.")] = False,
) -> None:
    """Warm-up, rollout, score, curate, train stage 1 and 2, eval before and after, report.

    Every step is a command that you could type, and is resumed by the same command.
    """
    started = time.monotonic()
    for why, line in plan(directory, QUICK if quick else FULL, session.seed):
        _step(session, why, line)
    page = directory / "report.html"
    render.summary(session, "demo", {"minutes": round((time.monotonic() - started) / 60, 2), "report": str(page)})


def plan(directory: Path, size: Size, seed: int) -> list[tuple[str, str]]:
    """Return the steps of the demo: what each is for, and its command line without `ovrl`."""
    root, own = shlex.quote(str(directory)), f"--seed {seed}"

    def evaluate(model: str, name: str) -> list[tuple[str, str]]:
        modes = {"fast": "the answer alone", "thinking": "a chain of thought"}
        return [
            (
                f"How good is {name} on held-out prompts, asked for {asked}?",
                f"eval --model {model} --samples {root}/data/heldout.parquet --mode {mode} -n {size.eval_n} "
                f"--max-new-tokens 64 -o {root}/eval/{name}-{mode} {own}",
            )
            for mode, asked in modes.items()
        ]

    def train(stage: int, model: str) -> str:
        return (
            f"train --stage {stage} -i {root}/curated/stage{stage} --model {model} --preset tiny "
            f"--steps {size.steps} -o {root}/stage{stage} {own}"
        )

    return [
        *_preparation(root, size, own),
        *evaluate(f"{root}/base", "base"),
        (
            f"It tries every prompt {size.n} times.",
            f"rollout -i {root}/data/pool.parquet --model {root}/base -n {size.n} --max-new-tokens 64 "
            f"-o {root}/rollouts {own}",
        ),
        ("Rules judge every try.", f"score -i {root}/rollouts -o {root}/scores"),
        (
            "Keep what it can solve, but rarely does.",
            f"curate -i {root}/scores --samples {root}/data/pool.parquet -o {root}/curated {own}",
        ),
        ("Stage 1: answers alone.", train(1, f"{root}/base")),
        *evaluate(f"{root}/stage1/final", "stage1"),
        ("Stage 2: chain of thought.", train(2, f"{root}/stage1/final")),
        *evaluate(f"{root}/stage2/final", "stage2"),
        ("One page about all of it.", f"report {root} -o {root}/report.html"),
    ]


def _preparation(root: str, size: Size, own: str) -> list[tuple[str, str]]:
    """Return the steps that make data and a base model."""
    return [
        (
            "Pictures with answers and rationales, for the warm-up alone.",
            f"data synth --split warmup -n {size.warmup} -o {root}/data/warmup.parquet --seed {_BASE_SEED}",
        ),
        (
            "Prompts to curate and to train on.",
            f"data synth --split pool -n {size.pool} -o {root}/data/pool.parquet {own}",
        ),
        (
            "Held-out prompts; only `eval` reads them.",
            f"data synth --split heldout -n {size.heldout} -o {root}/data/heldout.parquet {own}",
        ),
        (
            "A tiny vision-language model, made here, learns the form of the answers.",
            f"warmup -i {root}/data/warmup.parquet --model tiny --steps {size.warmup_steps} --cache "
            f"-o {root}/taught --seed {_BASE_SEED}",
        ),
        (
            "Half of the answers in these pictures are wrong ...",
            f"data synth --split doubt -n {size.doubt} -o {root}/data/doubt.parquet --seed {_BASE_SEED}",
        ),
        (
            "... so that it learns to be unsure: from now on it knows more than it says, as large models do.",
            f"warmup -i {root}/data/doubt.parquet --model {root}/taught --steps {size.doubt_steps} --lr 5e-4 "
            f"--cache -o {root}/base --seed {_BASE_SEED}",
        ),
    ]


def _step(session: Session, why: str, line: str) -> None:
    from ovrl.cli.main import run

    render.note(session, f"\n# {why}\n$ ovrl {line}")
    sys.stderr.flush()
    quiet = ["-q"] if session.verbosity == "quiet" else ["-v"] if session.verbosity == "verbose" else []
    code = run([*shlex.split(line), *quiet])
    if code > 128:
        raise typer.Exit(code)  # stopped by a signal; what was to be said was said
    if code:
        raise OvrlError(f"the demo stopped at: ovrl {line} (exit code {code})")
