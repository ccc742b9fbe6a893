"""Options that several commands have, declared once."""

from pathlib import Path
from typing import Annotated

import typer

from ovrl.errors import UsageError

InputArgument = Annotated[str | None, typer.Argument(metavar="INPUT", help="Same as -i.", show_default=False)]
InputOption = Annotated[str | None, typer.Option("-i", "--input", metavar="PATH|-", help="What to read; - is stdin.")]
Output = Annotated[str, typer.Option("-o", "--output", metavar="PATH|-", help="Where to write; - is stdout.")]
OutputDirectory = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Directory to fill.")]
Model = Annotated[str, typer.Option("--model", metavar="MODEL", help="Model directory or hub id.")]
Limit = Annotated[
    int | None,
    typer.Option(help="Read at most so many records.", show_default=False),
]
Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Read every N-th record, from record I on."),
]


def _checked_allowance(text: str) -> str:
    """Refuse a bad --fail-on before the work, not after it."""
    from ovrl.rejects import check_allowance

    check_allowance(0, 0, text, "")
    return text


From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="NAME",
        help="Layout (verl, trl, ...), public data set (virl39k, ...) or file.py:function; default: by the columns.",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder that relative image paths start from; default: that of the data."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start again instead of resuming.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and count, write nothing.")]
RejectsFile = Annotated[
    Path | None,
    typer.Option("--rejects", help="Where bad records go; default: beside the output."),
]
FailOn = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar="N|P%",
        callback=_checked_allowance,
        help="Most bad records to accept; more end in exit code 3.",
    ),
]


def already(finished: bool) -> dict[str, str]:
    """Return what a summary adds when an earlier run had done everything."""
    return {"note": "already complete"} if finished else {}


def one_input(argument: str | None, option: str | None, default: str | None = None) -> str:
    """Return the input that was given as an argument or with -i.

    Raises:
        UsageError: both were given, or neither and there is no default.
    """
    if argument is not None and option is not None:
        raise UsageError(f"the input is given twice: {argument} and -i {option}")
    chosen = argument if argument is not None else option if option is not None else default
    if chosen is None:
        raise UsageError("no input; give a path, or - for stdin")
    return chosen


def rejects_file(given: Path | None, output: str) -> Path | None:
    """Return where bad records go: as given, or beside the output; None (stderr) when that is stdout."""
    if given is not None or output == "-":
        return given
    path = Path(output)
    if path.suffix in (".jsonl", ".json", ".parquet"):
        return path.with_name(f"{path.name}.rejects.jsonl")
    return path / "rejects.jsonl"
