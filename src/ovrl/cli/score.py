"""`ovrl score`: completions in, the same lines with their score out."""

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.errors import UsageError
from ovrl.selection import Selection

if TYPE_CHECKING:
    from ovrl.reward.run import Tally

EXAMPLES = (
    "ovrl score -i demo/rollouts -o scores.jsonl",
    """echo '{"completion": "<answer>B</answer>", "answer": "B", "answer_type": "multiple-choice"}' | ovrl score""",
    "ovrl score demo/rollouts --explain --limit 3",
    "ovrl score demo/rollouts --compare ov15 -o compared.jsonl",
)

_SHOWN_CHARS = 60
"""Of an answer, in tables; lines have it whole."""


_Mode = Annotated[
    Literal["strict", "ov15"] | None,
    typer.Option(help="strict: rules as stated; ov15: the original's figures (default: strict)."),
]
_Reward = Annotated[
    str | None, typer.Option(help="One rule for all lines: an answer type, module:function or file.py:function.")
]
_Timeout = Annotated[float | None, typer.Option(help="Seconds for one completion (default: 10).")]
_Workers = Annotated[int | None, typer.Option(help="Processes that judge (default: 2).")]
_NullAs = Annotated[
    float | None, typer.Option("--null-as", help="Write this number where the grader failed, instead of null.")
]
_Compare = Annotated[
    Literal["strict", "ov15"] | None,
    typer.Option(help="Set another mode's reward beside, and show where they differ."),
]


def _start_worker() -> None:
    from ovrl.reward.process import start_ahead

    start_ahead()


@partial(command, ahead=_start_worker)
def score(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    output: options.Output = "-",
    mode: _Mode = None,
    reward: _Reward = None,
    timeout: _Timeout = None,
    workers: _Workers = None,
    null_as: _NullAs = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why: the rule, the answer found, the gold.")] = False,
    compare: _Compare = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Score completions by rule. Reads the output of rollout, or any JSONL with a completion and an answer."""
    from ovrl.json_lines import JsonLines
    from ovrl.rejects import Rejects, check_allowance
    from ovrl.reward.line_source import LineSource
    from ovrl.reward.run import score_lines
    from ovrl.reward.settings import ScoreSettings

    if null_as is not None and not math.isfinite(null_as):
        raise UsageError(f"--null-as {null_as}: JSON has no such number; give a finite one, such as 0")
    settings = session.resolve("score", ScoreSettings, mode=mode, reward=reward, timeout=timeout, workers=workers).value
    settings.check()
    duty = settings.duty(null_as=null_as, explain=explain, compare=compare)
    source = options.one_input(source, source_option, "-")
    selection = Selection.parse(limit, shard)
    paths = _lines_files(source)
    with LineSource(paths, selection) as lines:
        if dry_run:
            render.summary(session, "score (dry run)", {"lines": sum(1 for _ in lines)})
            return
        inputs = _described(paths, output)
        more = {"null_as": null_as, "explain": explain, "compare": compare}
        identity = session.identity("score", settings, inputs, selection, **more)
        rejected = options.rejects_file(rejects, output)
        total = selection.count(sum(entry["rows"] or 0 for entry in inputs.values())) or None
        with JsonLines(output, "scores.jsonl", identity, overwrite=overwrite) as scored:
            already = options.already(scored.finished)
            if not scored.finished:
                bad = Rejects(rejected)
                with render.progress(session, "score", total) as advance:
                    tally = score_lines(lines, scored, bad, duty, on_done=advance)
                _show(session, tally, compare)
            counts = scored.counts
    render.summary(session, "score", {**counts, "output": output} | already, records_on_stdout=output == "-")
    failed = counts["rejected"] + counts.get("unscored", 0)
    where = f"{output} and {rejected}" if rejected else "the lines above"
    check_allowance(failed, counts["lines"] + counts["rejected"], fail_on, where)


def lines_file(source: str, name: str) -> str:
    """Return the file of records inside the output directory of the command before, or the file itself."""
    inside = Path(source) / name
    return str(inside) if source != "-" and inside.is_file() else source


def _described(paths: list[str], output: str) -> dict[str, dict[str, Any]]:
    """Return digest and rows of the inputs; what goes to stdout is never resumed, and needs none."""
    if output == "-":
        return {path: {"sha256": None, "rows": None} for path in paths}
    from ovrl.cli.inputs import describe_inputs

    return describe_inputs(*paths)


def _lines_files(source: str) -> list[str]:
    """Return the files to score: the output of rollout, one file, stdin, or all data files of a directory.

    Raises:
        UsageError: nothing is there.
    """
    path = lines_file(source, "completions.jsonl")
    if source == "-" or Path(path).is_file() or Path(path).is_fifo():
        return [path]
    from ovrl.rows import data_files

    files = [str(file) for file in data_files(source)]
    return [file for file in files if file.endswith(".jsonl")] or files


def _show(session: Session, tally: "Tally", compare: str | None) -> None:
    """Print the explanations, the table by type and status, and where the compared modes differ."""
    for line in tally.explained:
        record = json.loads(line)
        explain = record["explain"]
        sys.stderr.write(
            f"{record.get('id') or '-'}  reward {record['reward']}  ({record['status']}, rule {explain['rule']}, "
            f"{record['mode']})\n  answer: {_short(record['extracted'])}\n  gold:   {_short(explain['gold'])}\n"
            f"  why:    {explain['why']}\n"
        )
    if tally.lines < 2:
        return
    by_type = tally.by_answer_type()
    statuses = sorted({name for counts in by_type.values() for name in counts} - {"lines", "reward_mean"})
    render.table(
        session,
        "",
        ("answer type", "lines", "reward", *statuses),
        [
            (name, counts["lines"], counts["reward_mean"], *(counts.get(status, 0) for status in statuses))
            for name, counts in sorted(by_type.items())
        ],
    )
    if compare is None:
        return
    rows = [(name, by_type[name]["lines"], tally.differing[name]) for name in sorted(by_type)]
    render.table(session, f"differs from {compare}", ("answer type", "lines", "differ"), rows)
    largest = [
        (
            difference["id"] or f"line {difference['line']}",
            difference["answer_type"],
            difference["reward"],
            difference["compared"]["reward"],
            f"{_short(difference['extracted'])}: {difference['why']}",
            f"{_short(difference['compared']['extracted'])}: {difference['compared']['why']}",
        )
        for difference in tally.largest_differences()
    ]
    if largest:
        columns = ("id", "answer type", "reward", compare, "why", f"why ({compare})")
        render.table(session, "largest differences", columns, largest)


def _short(text: str | None) -> str:
    if text is None:
        return "-"
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
