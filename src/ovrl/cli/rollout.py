"""`ovrl rollout`: samples in, completions out."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.selection import Selection

if TYPE_CHECKING:
    from ovrl.curate.settings import CurateSettings
    from ovrl.json_lines import JsonLines
    from ovrl.records import Sample
    from ovrl.rejects import Rejects
    from ovrl.reward.settings import ScoreSettings
    from ovrl.rollout.settings import EngineSettings, RolloutSettings

EXAMPLES = (
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 4 --limit 8 -o completions.jsonl",
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 4 --limit 8 --shuffle-options -o shuffled.jsonl",
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 16 --limit 8 --stop-early -o early.parquet",
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 2 --limit 4 | ovrl score | head -3",
)

_Mode = Annotated[
    Literal["normal", "thinking", "both"] | None,
    typer.Option("--mode", "--prompt-type", help="Ask every sample in this mode; both: N completions in each."),
]
_StopEarly = Annotated[
    bool | None,
    typer.Option("--stop-early", help="Stop sampling a prompt when the verdict of `ovrl curate` on it is settled."),
]
_Concurrency = Annotated[
    int | None, typer.Option(help="Completions under way at once, in each process (default: 256).")
]
_ShuffleOptions = Annotated[
    bool | None, typer.Option("--shuffle-options", help="Another order of the options for each completion.")
]
_Launch = Annotated[
    int | None, typer.Option("--launch", metavar="N", help="Start N SGLang servers here, with OVRL_SGLANG's Python.")
]

_Server = Annotated[
    str | None, typer.Option("--server", metavar="URL[,URL...]", help="Running servers, for --engine sglang or openai.")
]
_WithTokens = Annotated[bool | None, typer.Option("--with-tokens", help="Write token ids and log-probabilities too.")]


@command
def rollout(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Model directory or hub id.")],
    n: Annotated[int | None, typer.Option("-n", help="Completions for each sample (default: 8).")] = None,
    output: options.Output = "-",
    engine: Annotated[str | None, typer.Option(help="hf, sglang, openai, fake, or module:function.")] = None,
    server: _Server = None,
    launch: _Launch = None,
    mode: _Mode = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest completion (default: 4096).")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 takes the likeliest token (default: 1).")] = None,
    shuffle_options: _ShuffleOptions = None,
    stop_early: _StopEarly = None,
    concurrency: _Concurrency = None,
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
    from ovrl.rejects import check_counts
    from ovrl.rollout.settings import RolloutSettings

    settings = session.resolve(
        "rollout",
        RolloutSettings,
        n=n,
        prompt_type=mode,
        stop_early=stop_early,
        shuffle_options=shuffle_options,
        with_tokens=with_tokens,
        sampling__max_new_tokens=max_new_tokens,
        sampling__temperature=temperature,
        engine__engine=engine,
        engine__batch_size=concurrency,
        **_servers(server, launch),
    ).value
    source = options.one_input(source, source_option)
    selection = Selection.parse(limit, shard)
    if dry_run:
        describe_inputs(source, model=model, engine=settings.engine.engine)
        found = count_samples(source, selection)
        render.summary(session, "rollout (dry run)", found | {"completions": found["samples"] * settings.completions})
        return
    rejected = options.rejects_file(rejects, output)
    counts = _run(session, settings, source, selection, model=model, output=output, rejected=rejected, again=overwrite)
    render.summary(session, "rollout", {**counts, "output": output}, records_on_stdout=output == "-")
    check_counts(counts, fail_on, str(rejected or "the warnings above"))


def _run(
    session: Session,
    settings: "RolloutSettings",
    source: str,
    selection: Selection,
    *,
    model: str,
    output: str,
    rejected: Path | None,
    again: bool,
) -> dict[str, Any]:
    """Fill the output and return what a summary says of it; `again` starts anew."""
    from ovrl.cli.inputs import describe_inputs
    from ovrl.json_lines import JsonLines
    from ovrl.rejects import Rejects
    from ovrl.rollout import prompt
    from ovrl.rollout.columns import from_lines
    from ovrl.samples import read_samples

    inputs = describe_inputs(source, model=model, engine=settings.engine.engine)
    verdicts = _verdicts(session) if settings.stop_early else {}
    identity = session.identity("rollout", settings, inputs, selection, prompts=prompt.digest(), **verdicts)
    with JsonLines(output, "completions.jsonl", identity, overwrite=again, to_parquet=from_lines) as lines:
        note = options.already(lines.finished)
        if not lines.finished:
            bad, asked = Rejects(rejected), selection.count(inputs[source]["rows"] or 0)
            samples = read_samples(source, bad, selection)
            note |= _sample(session, samples, lines, bad, settings, model=model, asked=asked)
        return lines.counts | note


def _servers(urls: str | None, launch: int | None) -> dict[str, Any]:
    """Return where completions are made by servers, as settings."""
    environment = os.environ.get("OVRL_SGLANG")
    return {
        "engine__servers": urls,
        "engine__launch__servers": launch,
        "engine__launch__environment": environment,
    }


def _verdicts(session: Session) -> dict[str, Any]:
    """Return the settings that decide when a prompt is done, as they stand in the manifest."""
    score, curate = _rules(session)
    return {"score": score.result_fields(), "curate": curate.result_fields()}


def _rules(session: Session) -> "tuple[ScoreSettings, CurateSettings]":
    from ovrl.curate.settings import CurateSettings
    from ovrl.reward.settings import ScoreSettings

    score = session.resolve("score", ScoreSettings).value
    score.check()
    return score, session.resolve("curate", CurateSettings).value


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
    from ovrl.cli.jury import Jury
    from ovrl.plugins import resolve
    from ovrl.rollout.run import roll_out
    from ovrl.rollout.table import ENGINES

    with ExitStack() as stack:
        engine = resolve(settings.engine.engine, ENGINES, "engine")(model, _with_key(settings.engine))
        stack.callback(engine.close)
        jury = Jury(*_rules(session)) if settings.stop_early else None
        if jury is not None:
            stack.callback(jury.close)
        watch = stack.enter_context(render.rollout(session, asked * settings.completions or None))
        roll_out(samples, engine, lines, bad, settings, model=model, seed=session.seed, watch=watch, jury=jury)
    return dict(getattr(engine, "counts", {}))


def _with_key(engine: "EngineSettings") -> "EngineSettings":
    """Return the settings with the key that clients of OpenAI's protocol find in the environment."""
    from pydantic import SecretStr

    key = os.environ.get("OPENAI_API_KEY")
    if engine.engine != "openai" or engine.api_key is not None or key is None:
        return engine
    return engine.model_copy(update={"api_key": SecretStr(key)})
