"""`ovrl rollout`: samples in, completions out."""

from typing import Annotated, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command

EXAMPLES = (
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 4 --limit 8 -o completions.jsonl",
    "ovrl rollout demo/data/pool.parquet --model demo/base -n 2 --limit 4 | ovrl score | head -3",
)


@command
def rollout(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Model directory or hub id.")],
    n: Annotated[int | None, typer.Option("-n", help="Completions for each sample (default: 8).")] = None,
    output: options.Output = "-",
    engine: Annotated[str | None, typer.Option(help="transformers, fake, or module:function.")] = None,
    prompt_type: Annotated[
        Literal["normal", "thinking"] | None, typer.Option(help="Ask every sample in this mode.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest completion (default: 4096).")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 takes the likeliest token (default: 1).")] = None,
    with_tokens: Annotated[
        bool | None, typer.Option("--with-tokens", help="Write token ids and log-probabilities too.")
    ] = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Sample completions of every prompt. Resumable: the same command goes on where it stopped."""
    from ovrl.cli.inputs import describe_inputs
    from ovrl.rejects import Rejects, check_allowance
    from ovrl.rollout.settings import RolloutSettings
    from ovrl.samples import Selection, read_samples
    from ovrl.store import JsonLines

    settings = session.resolve(
        "rollout",
        RolloutSettings,
        n=n,
        prompt_type=prompt_type,
        with_tokens=with_tokens,
        sampling__max_new_tokens=max_new_tokens,
        sampling__temperature=temperature,
        engine__engine=engine,
    ).value
    source = options.one_input(source, source_option)
    selection = Selection.parse(limit, shard)
    inputs = describe_inputs(source, model=None if settings.engine.engine == "fake" else model)
    if dry_run:
        quiet = Rejects(None)
        count = sum(1 for _ in read_samples(source, quiet, selection))
        render.summary(
            session,
            "rollout (dry run)",
            {"samples": count, "completions": count * settings.n, "rejected": quiet.count},
        )
        return
    from ovrl.rollout import prompt

    identity = session.identity("rollout", settings, inputs, selection, prompts=prompt.digest())
    with JsonLines(output, "completions.jsonl", identity, overwrite=overwrite) as lines:
        if lines.finished:
            render.summary(session, "rollout", {"output": output, "note": "already complete"})
            return
        from ovrl.plugins import resolve
        from ovrl.rollout.run import roll_out
        from ovrl.rollout.table import ENGINES

        bad = Rejects(options.rejects_file(rejects, output))
        made = resolve(settings.engine.engine, ENGINES, "engine")(model, settings.engine)
        total = inputs[source]["rows"]
        with render.progress(session, "rollout", total and selection.count(total) * settings.n) as advance:
            counts = roll_out(
                read_samples(source, bad, selection),
                made,
                lines,
                bad,
                settings,
                model=model,
                seed=session.seed,
                on_done=advance,
            )
        made.close()
    render.summary(session, "rollout", {**counts, "output": output}, records_on_stdout=output == "-")
    where = options.rejects_file(rejects, output) or "the warnings above"
    check_allowance(bad.count, counts["samples"] + bad.count, fail_on, str(where))
