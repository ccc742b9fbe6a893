"""`ovrl rollout`: samples in, completions out."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.selection import Selection

if TYPE_CHECKING:
    from ovrl.json_lines import JsonLines
    from ovrl.records import Sample
    from ovrl.rejects import Rejects
    from ovrl.rollout.settings import RolloutSettings

EXAMPLES = (
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 4 --limit 8 -o completions.jsonl",
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 4 --limit 8 --shuffle-options -o shuffled.jsonl",
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 2 --limit 4 | ovrl score | head -3",
)

_PromptType = Annotated[Literal["normal", "thinking"] | None, typer.Option(help="Ask every sample in this mode.")]
_Server = Annotated[
    str | None, typer.Option("--server", metavar="URL[,URL...]", help="Running SGLang servers, for --engine sglang.")
]
_WithTokens = Annotated[bool | None, typer.Option("--with-tokens", help="Write token ids and log-probabilities too.")]
_ShuffleOptions = Annotated[
    bool | None, typer.Option("--shuffle-options", help="Another order of the options for each completion.")
]
_Launch = Annotated[
    int | None, typer.Option("--launch", metavar="N", help="Start N SGLang servers here, with OVRL_SGLANG's Python.")
]


@command
def rollout(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Model directory or hub id.")],
    n: Annotated[int | None, typer.Option("-n", help="Completions for each sample (default: 8).")] = None,
    output: options.Output = "-",
    engine: Annotated[str | None, typer.Option(help="transformers, sglang, fake, or module:function.")] = None,
    server: _Server = None,
    launch: _Launch = None,
    prompt_type: _PromptType = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest completion (default: 4096).")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 takes the likeliest token (default: 1).")] = None,
    shuffle_options: _ShuffleOptions = None,
    with_tokens: _WithTokens = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Sample completions of every prompt. Resumable: the same command goes on where it stopped."""
    from ovrl.cli.inputs import count_samples, describe_inputs
    from ovrl.json_lines import JsonLines
    from ovrl.rejects import Rejects, check_counts
    from ovrl.rollout import prompt
    from ovrl.rollout.settings import RolloutSettings
    from ovrl.samples import read_samples

    settings = session.resolve(
        "rollout",
        RolloutSettings,
        n=n,
        prompt_type=prompt_type,
        shuffle_options=shuffle_options,
        with_tokens=with_tokens,
        sampling__max_new_tokens=max_new_tokens,
        sampling__temperature=temperature,
        engine__engine=engine,
        **_servers(server, launch),
    ).value
    source = options.one_input(source, source_option)
    selection = Selection.parse(limit, shard)
    inputs = describe_inputs(source, model=model, engine=settings.engine.engine)
    if dry_run:
        _count(session, count_samples(source, selection), settings.n)
        return
    identity = session.identity("rollout", settings, inputs, selection, prompts=prompt.digest())
    rejected = options.rejects_file(rejects, output)
    with JsonLines(output, "completions.jsonl", identity, overwrite=overwrite) as lines:
        note = options.already(lines.finished)
        if not lines.finished:
            bad, asked = Rejects(rejected), selection.count(inputs[source]["rows"] or 0)
            samples = read_samples(source, bad, selection)
            note |= _sample(session, samples, lines, bad, settings, model=model, asked=asked)
    render.summary(session, "rollout", {**lines.counts, "output": output} | note, records_on_stdout=output == "-")
    check_counts(lines.counts, fail_on, str(rejected or "the warnings above"))


def _servers(urls: str | None, launch: int | None) -> dict[str, Any]:
    """Return where completions are made by servers, as settings."""
    environment = os.environ.get("OVRL_SGLANG")
    return {
        "engine__servers": urls,
        "engine__launch__servers": launch,
        "engine__launch__environment": environment,
    }


def _count(session: Session, found: dict[str, int], n: int) -> None:
    render.summary(session, "rollout (dry run)", found | {"completions": found["samples"] * n})


def _sample(
    session: Session,
    samples: "Iterable[Sample]",
    lines: "JsonLines",
    bad: "Rejects",
    settings: "RolloutSettings",
    *,
    model: str,
    asked: int,
) -> dict[str, int]:
    """Make the completions and return what the engine counted; `asked` is 0 where nobody knows how many samples."""
    from ovrl.plugins import resolve
    from ovrl.rollout.run import roll_out
    from ovrl.rollout.table import ENGINES

    engine = resolve(settings.engine.engine, ENGINES, "engine")(model, settings.engine)
    with render.progress(session, "rollout", asked * settings.n or None) as advance:
        roll_out(samples, engine, lines, bad, settings, model=model, seed=session.seed, on_done=advance)
    engine.close()
    return dict(getattr(engine, "counts", {}))
