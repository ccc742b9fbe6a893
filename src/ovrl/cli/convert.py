"""`ovrl data convert`: any layout, or a public data set, in; canonical samples, or another layout, out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import INVOCATION, Session, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ovrl.layouts import Layout
    from ovrl.manifest import Identity
    from ovrl.records import Sample
    from ovrl.rejects import Rejects

EXAMPLES = (
    "ovrl data convert demo/data/pool.parquet -o pool.jsonl",
    "ovrl data convert demo/data/pool.parquet --to verl -o pool-verl",
    "ovrl data convert --from canonical demo/data/pool.parquet --to ms-swift -o pool-swift",
)


@command
def convert(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="PATH|-", help="A folder of parts, .parquet, .jsonl; - is stdout.")
    ],
    origin: options.From = None,
    to: Annotated[
        Literal["canonical", "verl", "easyr1", "trl", "ms-swift", "vlm-r1"], typer.Option(help="Layout to write.")
    ] = "canonical",
    images: options.Images = None,
    answer_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Answer type of samples that state none, such as number.")
    ] = None,
    rows_per_part: Annotated[int, typer.Option(min=1, help="Samples of one part of a folder.")] = 2000,
    limit: options.Limit = None,
    shard: options.Shard = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Turn any layout, or a public data set, into another layout.

    Layouts are recognised by their columns; raw rows of a public data set need --from. Parquet and folders hold the
    images themselves and stand alone; JSON lines hold embedded images as data URIs, and of image files the absolute
    path. A sample whose image file is missing is a reject in both.
    """
    from ovrl.cli.inputs import Samples
    from ovrl.curate.convert import check_target
    from ovrl.layouts import LAYOUTS
    from ovrl.rejects import Rejects, check_counts
    from ovrl.selection import Selection

    selection = Selection.parse(limit, shard)
    layout = LAYOUTS[to]
    check_target(output, layout)
    _check_answer_type(answer_type)
    read = Samples(options.one_input(source, source_option), origin, images, seed=session.seed)
    if dry_run:
        bad = Rejects(None)
        count = sum(1 for _ in read(bad, selection))
        render.summary(session, "data convert (dry run)", {"samples": count, **bad.counts(), **read.skipped()})
        return
    given = {"from": origin, "to": to, "answer_type": answer_type, "images": str(images) if images else None}
    identity = read.identity(
        "data convert", given | {"rows_per_part": rows_per_part}, selection, argv=("ovrl", *INVOCATION.get())
    )
    rejected = options.rejects_file(rejects, output)
    with render.progress(session, "data convert", selection.count(read.rows or 0) or None) as advance:
        work = _Work(layout, rows_per_part, rejected, overwrite, advance)
        counts = work.run(output, identity, lambda bad: _typed(read(bad, selection), answer_type), read.skipped)
    render.summary(session, "data convert", counts | {"output": output}, records_on_stdout=output == "-")
    check_counts(counts, fail_on, str(rejected or "the warnings above"))


class _Work:
    """Writes to stdout, a file or a directory, each with its own way to be complete."""

    def __init__(
        self,
        layout: "Layout",
        rows_per_part: int,
        rejected: Path | None,
        overwrite: bool,
        advance: "Callable[[int], None]",
    ) -> None:
        self._layout, self._rows_per_part, self._rejected = layout, rows_per_part, rejected
        self._overwrite, self._advance = overwrite, advance

    def run(
        self,
        output: str,
        identity: "Identity",
        samples: "Callable[[Rejects], Iterable[Sample]]",
        skipped: "Callable[[], dict[str, int]]",
    ) -> dict[str, Any]:
        """Write the output and return its counts, or those of the run that had finished it."""
        from ovrl.curate.convert import write_file, write_lines, write_parts
        from ovrl.rejects import Rejects
        from ovrl.store import Directory, OutputFile

        if output == "-":
            bad = Rejects(self._rejected)
            return {"samples": write_lines(sys.stdout, samples(bad), bad), **bad.counts(), **skipped()}
        path = Path(output)
        if path.suffix in (".jsonl", ".parquet"):
            file = OutputFile(path, identity, overwrite=self._overwrite)
            if file.finished:
                return file.counts | options.already(True)
            bad, lines = Rejects(self._rejected), path.suffix == ".jsonl"
            count = write_file(file.partial, self._told(samples(bad)), self._layout, bad, lines=lines)
            file.finish({"samples": count, **bad.counts(), **skipped()})
            return {"samples": count, **bad.counts(), **skipped()}
        with Directory(path, identity, overwrite=self._overwrite) as directory:
            if directory.finished:
                return directory.counts | options.already(True)
            bad = Rejects(self._rejected, keep=not self._overwrite)  # finished parts are not read again
            count, names = write_parts(
                path, samples(bad), self._layout, bad, rows_per_part=self._rows_per_part, on_done=self._advance
            )
            directory.finish({"samples": count, **bad.counts(), **skipped()}, names)
            return directory.counts

    def _told(self, samples: "Iterable[Sample]") -> "Iterator[Sample]":
        for sample in samples:
            yield sample
            self._advance(1)


def _typed(samples: "Iterable[Sample]", answer_type: str | None) -> "Iterator[Sample]":
    """Yield the samples; those of type `any`, which is what no type means, get the given one."""
    from dataclasses import replace

    for sample in samples:
        if answer_type is not None and sample.question.answer_type == "any":
            yield replace(sample, question=replace(sample.question, answer_type=answer_type))
        else:
            yield sample


def _check_answer_type(name: str | None) -> None:
    from ovrl.errors import UsageError
    from ovrl.plugins import did_you_mean
    from ovrl.records import ANSWER_TYPES

    if name is not None and name not in ANSWER_TYPES:
        known = list(ANSWER_TYPES)
        raise UsageError(f"--answer-type {name!r}: no such type.{did_you_mean(name, known)} Known: {', '.join(known)}")
