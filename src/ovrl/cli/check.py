"""`ovrl data check`: what is wrong with a data set, before it costs GPU hours."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ovrl.cli import options, render
from ovrl.cli.session import INVOCATION, Session, command

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ovrl.cli.inputs import Samples
    from ovrl.curate.check import Finding, Findings, Scorer
    from ovrl.selection import Selection

EXAMPLES = (
    "ovrl data check demo/data/pool.parquet --fail-on 10%",
    "ovrl data check demo/data/pool.parquet --against demo/data/heldout.parquet --fail-on 10% -o findings.jsonl",
)


@command
def check(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Evaluation set to keep out; --from and --images do not apply to it."),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="PATH|-", help="Findings as JSON lines; - is stdout.")
    ] = "-",
    origin: options.From = None,
    images: options.Images = None,
    golds: Annotated[bool, typer.Option(help="Score each gold against itself, by its own rule.")] = True,
    limit: options.Limit = None,
    shard: options.Shard = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
) -> None:
    """Look for bad records, images and golds, duplicates, leaks.

    Every image is opened, every gold answer is scored by its own rule, and every sample is compared with the ones
    before it and with an evaluation set.
    """
    from ovrl.cli.inputs import Samples
    from ovrl.errors import UsageError
    from ovrl.rejects import check_allowance
    from ovrl.selection import Selection
    from ovrl.store import OutputFile, dumps

    if output != "-" and Path(output).suffix != ".jsonl":
        raise UsageError(f"{output}: findings are written to .jsonl, or to - (stdout)")
    selection = Selection.parse(limit, shard)
    source = options.one_input(source, source_option)
    if source == against == "-":
        raise UsageError("the input and the evaluation set cannot both be stdin; give one of them as a file")
    read = Samples(source, origin, images, seed=session.seed)
    work = _Work(session, read, selection, against, is_scoring=golds)
    counts: dict[str, Any]
    if output == "-":
        counts = work.run(lambda finding: _write(sys.stdout, dumps(finding.encode())))
    else:
        given = {"from": origin, "images": str(images) if images else None, "golds": golds, "against": against}
        identity = read.identity(
            "data check", given, selection, argv=("ovrl", *INVOCATION.get()), others=[against] if against else []
        )
        file = OutputFile(Path(output), identity, overwrite=overwrite)
        counts = {**file.counts, **options.already(file.finished)}
        if not file.finished:
            with file.partial.open("w", encoding="utf-8") as stream:
                counts = work.run(lambda finding: _write(stream, dumps(finding.encode())))
            file.finish(counts)
    shown = {name: value for name, value in counts.items() if name != "findings"}
    render.summary(session, "data check", {**shown, **counts["findings"]}, records_on_stdout=output == "-")
    where = "the lines above" if output == "-" else output
    total = counts["records"] + counts.get("uncompared", 0)
    check_allowance(counts["bad"], total, fail_on, where, lost_files=counts.get("lost_files", 0))


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")


class _Work:
    """One pass over the samples."""

    def __init__(
        self, session: Session, read: "Samples", selection: "Selection", against: str | None, *, is_scoring: bool
    ) -> None:
        self._session, self._read, self._selection = session, read, selection
        self._against, self._is_scoring = against, is_scoring

    def run(self, write: "Callable[[Finding], None]") -> dict[str, Any]:
        """Check everything, show a table of what was found, and return the counts."""
        from ovrl.curate.check import Findings, RecordFindings, check, gather
        from ovrl.samples import read_samples

        findings = Findings(write)
        bad, uncompared = RecordFindings(findings), RecordFindings(findings, "uncompared")
        held_out = gather(read_samples(self._against, uncompared), uncompared) if self._against else None
        total = self._selection.count(self._read.rows or 0) or None
        with _scorer(self._is_scoring) as scorer, render.progress(self._session, "data check", total) as advance:
            samples = self._read(bad, self._selection)
            count = check(samples, findings, bad.places, scorer=scorer, held_out=held_out, on_done=advance)
        self._show(findings)
        counts = {"records": count + bad.count, "bad": findings.bad, "findings": dict(findings.counts)}
        rest = {
            "uncompared": uncompared.count,
            "lost_files": findings.lost_files,
            "golds_unchecked": findings.unchecked,
        }
        return counts | {name: value for name, value in rest.items() if value} | self._read.skipped()

    def _show(self, findings: "Findings") -> None:
        from ovrl.curate.check import MEANINGS

        rows = [
            (kind, findings.counts[kind], findings.examples[kind], meaning)
            for kind, meaning in MEANINGS.items()
            if findings.counts[kind]
        ]
        if rows:
            render.table(self._session, "", ("finding", "count", "first", "meaning"), rows)


@contextmanager
def _scorer(is_asked: bool) -> "Generator[Scorer | None]":
    """Provide the rules of `ovrl score`, in strict mode and in their workers, as the judge of golds."""
    if not is_asked:
        yield None
        return
    from ovrl.records import Question
    from ovrl.reward.pool import ScorePool
    from ovrl.reward.settings import ScoreSettings

    with ScorePool(ScoreSettings(workers=1)) as pool:

        def score(question: Question, gold: str) -> tuple[float | None, str]:
            found = pool.submit(question, f"<answer>{gold}</answer>").result().verdict.score
            if question.answer_type == "general-code" and found.reward is not None:
                return None, "unsupported"  # its gold is tests, and no program that passes them
            return (None if found.reward is None else found.components.get("accuracy", found.reward)), found.status

        yield score
