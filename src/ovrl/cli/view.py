"""`ovrl data view`: samples, completions or scores as a page with their images."""

from pathlib import Path
from typing import Annotated

import typer

from ovrl.cli import options, render
from ovrl.cli.report import OutputPage, check_page
from ovrl.cli.session import Session, command

EXAMPLES = (
    "ovrl data view demo/data/pool.parquet -o pool.html",
    "ovrl data view demo/rollouts/completions.jsonl --samples demo/data/pool.parquet -o completions.html",
)


@command
def view(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="PATH", help="Where the images are; default: as the manifest says."),
    ] = None,
    output: OutputPage = Path("view.html"),
    overwrite: options.Overwrite = False,
) -> None:
    """Show samples and completions on one page, with images, and with the answers that were found marked."""
    from ovrl.eval.report import build_view

    chosen = options.one_input(source, source_option)
    check_page(output, overwrite=overwrite)
    build_view(Path(chosen), samples, output)
    render.summary(session, "data view", {"output": str(output), "bytes": output.stat().st_size})
