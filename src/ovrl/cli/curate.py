"""`ovrl curate`: samples and scores in, the two training sets out."""

import io
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.errors import UsageError

if TYPE_CHECKING:
    from ovrl.curate.scores import Lines
    from ovrl.curate.settings import CurateSettings
    from ovrl.curate.update import Earlier
    from ovrl.manifest import Identity

log = logging.getLogger(__name__)

EXAMPLES = (
    "ovrl curate -i demo/scores --samples demo/data/pool.parquet -o curated",
    "ovrl curate -i demo/scores --samples demo/data/pool.parquet -o banded --rule band",
    "ovrl curate -i demo/scores --samples demo/data/pool.parquet -o small --size 40 --by source --weight gap",
    "ovrl curate -i demo/stage1 --samples demo/data/pool.parquet -o refreshed --update",
)

_Rule = Annotated[
    str | None,
    typer.Option(help="gap, band, pass-count, paper (gap+band), default (paper without guesses); join by +."),
]
_K = Annotated[int | None, typer.Option("-k", help="k of pass@k (default: half of n).")]
_MinGap = Annotated[float | None, typer.Option(help="Least gap to keep (default: 0.1).")]
_Band = Annotated[
    str | None, typer.Option(metavar="LOW:HIGH", help="Keep mean rewards strictly between (default: 0:0.6).")
]
_Size = Annotated[int | None, typer.Option(help="Keep at most so many samples.")]
_By = Annotated[
    Literal["source", "answer_type", "problem_type"] | None,
    typer.Option(help="Sample each value of this field in proportion."),
]
_Weight = Annotated[
    Literal["uniform", "gap", "variance"] | None, typer.Option(help="What makes a sample likelier to be taken.")
]
_Mixture = Annotated[
    str | None, typer.Option(metavar="FILE|PRESET", help="Quotas or proportions for each stage: YAML, or ov15.")
]
_Update = Annotated[
    bool, typer.Option("--update", help="Take newer scores into the finished OUTPUT; old ones are not read again.")
]


@command
def curate(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    samples: Annotated[str, typer.Option("--samples", metavar="PATH", help="The samples that were asked.")],
    output: options.OutputDirectory,
    rule: _Rule = None,
    k: _K = None,
    min_gap: _MinGap = None,
    band: _Band = None,
    size: _Size = None,
    by: _By = None,
    weight: _Weight = None,
    mixture: _Mixture = None,
    update: _Update = False,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Keep the prompts that the model can solve but rarely does. Every input sample gets a row with a reason."""
    from ovrl.curate.settings import CurateSettings
    from ovrl.rejects import check_counts

    settings = session.resolve(
        "curate",
        CurateSettings,
        rule=rule,
        k=k,
        min_gap=min_gap,
        band=_window(band),
        selection__size=size,
        selection__by=by,
        selection__weight=weight,
        selection__mixture=mixture,
    ).value
    given = options.one_input(source, source_option, "" if update else "-")
    if given == samples == "-":
        raise UsageError("samples and scores cannot both be stdin; give -i FILE or --samples FILE")
    if update and overwrite:
        raise UsageError("--update keeps what is there, and --overwrite removes it; give one of them")
    rejected = options.rejects_file(rejects, str(output))
    job = _Job(session, samples, given, output, settings, rejected)
    if dry_run:
        job.count()
        return
    counts = job.update() if update else job.run(overwrite=overwrite)
    if missing := counts.get("reason_no_evidence", 0):
        log.warning("%d of %d samples have no scores; was an earlier command cut short?", missing, counts["samples"])
    for line in (output / "report.md").read_text().splitlines() if session.verbosity != "quiet" else ():
        render.note(session, line)
    shown = ("samples", "kept", "rejected", "lost_files")
    render.summary(session, "curate", {name: counts[name] for name in shown if name in counts} | job.outcome)
    check_counts(counts, fail_on, str(rejected))


def _window(text: str | None) -> tuple[float, float] | None:
    """Return the bounds that "0:0.6" names."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError as error:
        raise UsageError(f"--band {text!r}: give LOW:HIGH, such as 0:0.6") from error


class _Job:
    """One curation, as the flags describe it."""

    def __init__(
        self,
        session: Session,
        samples: str,
        source: str,
        output: Path,
        settings: "CurateSettings",
        rejected: Path | None,
    ) -> None:
        """Read the scores, and check what can be checked before anything is written."""
        from ovrl.cli.inputs import describe_inputs
        from ovrl.curate import mixture

        self._session, self._samples, self._output = session, samples, output
        self._settings, self._rejected = settings, rejected
        chosen = settings.selection
        self._mixture = None if chosen.mixture is None else mixture.load(chosen.mixture)
        if self._mixture is not None and chosen.by is not None:
            raise UsageError(f"--mixture {chosen.mixture} groups by {self._mixture.by} already; leave out --by")
        self._inputs = describe_inputs(samples)
        self._sha256: str | None = None
        self._lines = _read(source) if source else None
        if self._lines is not None:
            self._sha256 = _digest(source, self._lines)
            self._inputs |= {source: {"sha256": self._sha256, "rows": self._lines.rows}}
        self.outcome: dict[str, str] = {"output": str(output)}
        """What a summary says besides the counts."""

    def count(self) -> None:
        """Say what there is to do."""
        found = {"samples": self._inputs[self._samples]["rows"], "scores": self._lines.rows if self._lines else 0}
        render.summary(self._session, "curate (dry run)", found)

    def run(self, *, overwrite: bool) -> dict[str, Any]:
        """Curate from the scores alone and return the counts."""
        return self._run(self._identity(), None, overwrite=overwrite)

    def update(self) -> dict[str, Any]:
        """Curate from the newer scores, and from what the output knows of all other samples."""
        from ovrl.curate.update import load, refuse_lost, reopen

        earlier = load(self._output)
        if earlier is None:
            if self._lines is None:
                raise UsageError(f"{self._output} holds no curation to update; give scores with -i")
            return self._run(self._identity(), None, overwrite=False)
        digest = self._inputs[self._samples]["sha256"]
        if digest is None or digest not in [entry["sha256"] for entry in earlier.record["inputs"].values()]:
            refuse_lost(earlier, self._ids(), self._samples)
        identity = self._identity(earlier_scores=earlier.history(self._sha256, self._samples))
        reopen(earlier, identity)
        return self._run(identity, earlier, overwrite=False)

    def _ids(self) -> set[str]:
        """Return the ids of the samples, which are read once more for the curation itself."""
        from ovrl.rejects import Rejects
        from ovrl.samples import read_samples

        if self._samples == "-":
            raise UsageError("--update reads other samples twice, and stdin can be read once; give --samples FILE")
        return {sample.id for sample in read_samples(self._samples, Rejects(None))}

    def _identity(self, **more: Any) -> "Identity":
        composition = {} if self._mixture is None else {"mixture": self._mixture.model_dump(mode="json")}
        return self._session.identity("curate", self._settings, self._inputs, **composition, **more)

    def _run(self, identity: "Identity", earlier: "Earlier | None", *, overwrite: bool) -> dict[str, Any]:
        from ovrl.curate.evidence import Evidence
        from ovrl.curate.run import curate as run_curation
        from ovrl.rejects import Rejects
        from ovrl.samples import read_samples
        from ovrl.store import Directory

        with Directory(self._output, identity, overwrite=overwrite) as directory:
            self.outcome |= options.already(directory.finished)
            if not directory.finished:
                bad = Rejects(self._rejected)
                for error, line, sample_id in self._lines.bad if self._lines else ():
                    bad.add(error, line=line, record_id=sample_id)
                run_curation(
                    read_samples(self._samples, bad),
                    Evidence(self._lines, earlier.rows if earlier else None),
                    directory,
                    self._settings,
                    mixture=self._mixture,
                    rejects=bad,
                    seed=self._session.seed,
                )
            return directory.counts


def _read(source: str) -> "Lines":
    """Return the scored lines of a file, of what `score` or `train` wrote into a directory, or of stdin."""
    from ovrl.curate.scores import read_files, read_stream, score_files

    if source != "-":
        return read_files(score_files(source))
    stdin = getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode())
    return read_stream(stdin, "stdin")


def _digest(source: str, lines: "Lines") -> str:
    """Return the digest that tells whether these are the same scores: of what they say, where they come by pipe.

    A pipe that runs again takes other times for the same scores.
    """
    from ovrl.curate.scores import meaning

    return lines.sha256 if Path(source).is_file() or Path(source).is_dir() else meaning(lines)
