"""`ovrl report`: one HTML page about everything below a directory."""

from pathlib import Path
from typing import Annotated

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.errors import UsageError

GENERATOR = '<meta name="generator" content="ovrl'
"""Stands in the head of every report."""

OutputPage = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page.")]

EXAMPLES = ("ovrl report demo -o report.html", "ovrl report demo/stage1 -o stage1.html")


@command
def report(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    output: OutputPage = Path("report.html"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is no report of ovrl.")] = False,
) -> None:
    """Show runs, curation and evaluations on one self-contained page: curves, tables, samples with images."""
    from ovrl.eval.report import build_report

    chosen = options.one_input(source, source_option)
    check_page(output, overwrite=overwrite)
    build_report(Path(chosen), output)
    render.summary(session, "report", {"output": str(output), "bytes": output.stat().st_size})


def check_page(output: Path, *, overwrite: bool) -> None:
    """Refuse to write over what is no page of ours."""
    if output.is_file() and not overwrite and GENERATOR not in output.read_text(errors="replace")[:2000]:
        raise UsageError(f"{output} exists and is no report of ovrl; give --overwrite to replace it")
