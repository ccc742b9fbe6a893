"""`ovrl score`: completions in, the same lines with their score out."""

from typing import Annotated, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command

EXAMPLES = (
    "ovrl score -i demo/rollouts -o scores.jsonl",
    """echo '{"completion": "<answer>B</answer>", "answer": "B", "answer_type": "multiple-choice"}' | ovrl score""",
)


@command
def score(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    output: options.Output = "-",
    mode: Annotated[
        Literal["strict", "ov15"] | None,
        typer.Option(help="strict: rules as stated; ov15: the original's figures (default: strict)."),
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="One rule for all lines: module:function or file.py:function.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one completion (default: 10).")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that judge (default: 2).")] = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Score completions by rule. Reads the output of rollout, or any JSONL with a completion and an answer."""
    from ovrl.cli.inputs import describe_inputs
    from ovrl.plugins import resolve
    from ovrl.rejects import Rejects, check_allowance
    from ovrl.reward.run import score_lines
    from ovrl.reward.settings import ScoreSettings
    from ovrl.reward.table import REWARDS
    from ovrl.samples import Selection
    from ovrl.store import JsonLines, open_text, read_jsonl

    settings = session.resolve("score", ScoreSettings, mode=mode, reward=reward, timeout=timeout, workers=workers).value
    if settings.reward is not None:
        resolve(settings.reward, REWARDS, "reward")  # a typo ends here, and not in every worker
    source = options.one_input(source, source_option, "-")
    selection = Selection.parse(limit, shard)
    path = lines_file(source, "completions.jsonl")
    inputs = describe_inputs(path)
    if dry_run:
        with open_text(path) as stream:
            count = sum(1 for _ in selection(read_jsonl(stream, path)))
        render.summary(session, "score (dry run)", {"lines": count})
        return
    identity = session.identity("score", settings, inputs, selection)
    rejected = options.rejects_file(rejects, output)
    with JsonLines(output, "scores.jsonl", identity, overwrite=overwrite) as lines:
        already = options.already(lines.finished)
        if not lines.finished:
            name = "stdin" if path == "-" else path
            bad = Rejects(rejected)
            with open_text(path) as stream, render.progress(session, "score", inputs[path]["rows"]) as advance:
                read = selection(read_jsonl(stream, name))
                score_lines(read, lines, bad, settings, name=name, on_done=advance)
        counts = lines.counts
    render.summary(session, "score", {**counts, "output": output} | already, records_on_stdout=output == "-")
    failed = counts["rejected"] + counts.get("unscored", 0)
    where = f"{output} and {rejected}" if rejected else "the lines above"
    check_allowance(failed, counts["lines"] + counts["rejected"], fail_on, where)


def lines_file(source: str, name: str) -> str:
    """Return the file of records inside the output directory of the command before, or the file itself."""
    from pathlib import Path

    inside = Path(source) / name
    return str(inside) if source != "-" and inside.is_file() else source
