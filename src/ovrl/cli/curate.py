"""`ovrl curate`: samples and scores in, the two training sets out."""

import logging
from typing import Annotated, Literal

import typer

from ovrl.cli import options, render
from ovrl.cli.session import Session, command
from ovrl.errors import UsageError

log = logging.getLogger(__name__)

EXAMPLES = (
    "ovrl curate -i demo/scores --samples demo/data/pool.parquet -o curated",
    "ovrl curate -i demo/scores --samples demo/data/pool.parquet -o banded --rule band",
)


@command
def curate(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    samples: Annotated[str, typer.Option("--samples", metavar="PATH", help="The samples that were asked.")],
    output: options.OutputDirectory,
    rule: Annotated[
        Literal["default", "paper", "gap", "band"] | None,
        typer.Option(help="gap: pass@k - pass@1; band: mean reward; paper: both; default: paper without guesses."),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="k of pass@k (default: half of n).")] = None,
    min_gap: Annotated[float | None, typer.Option(help="Least gap to keep (default: 0.1).")] = None,
    rejects: options.RejectsFile = None,
    fail_on: options.FailOn = "0",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Keep the prompts that the model can solve but rarely does. Every input sample gets a row with a reason."""
    from ovrl.cli.evidence import Evidences
    from ovrl.cli.inputs import describe_inputs
    from ovrl.curate.run import curate as run_curation
    from ovrl.curate.settings import CurateSettings
    from ovrl.rejects import Rejects, check_allowance
    from ovrl.samples import read_samples
    from ovrl.store import Directory

    settings = session.resolve("curate", CurateSettings, rule=rule, k=k, min_gap=min_gap).value
    source = options.one_input(source, source_option, "-")
    if source == samples == "-":
        raise UsageError("samples and scores cannot both be stdin; give -i FILE or --samples FILE")
    described = describe_inputs(samples)
    with Evidences(source) as evidence:
        identity = session.identity("curate", settings, described | {source: evidence.described})
        if dry_run:
            render.summary(
                session,
                "curate (dry run)",
                {"samples": described[samples]["rows"], "scores": evidence.described["rows"]},
            )
            return
        rejected = options.rejects_file(rejects, str(output))
        with Directory(output, identity, overwrite=overwrite) as directory:
            already = options.already(directory.finished)
            if not directory.finished:
                bad = Rejects(rejected)
                run_curation(
                    read_samples(samples, bad), evidence.read(bad), directory, settings, rejects=bad, seed=session.seed
                )
            counts = directory.counts
    if missing := counts.get("reason_no_evidence", 0):
        log.warning("%d of %d samples have no scores; was an earlier command cut short?", missing, counts["samples"])
    for line in (output / "summary.md").read_text().splitlines() if session.verbosity != "quiet" else ():
        render.note(session, line)
    shown = {name: counts[name] for name in ("samples", "kept", "rejected")}
    render.summary(session, "curate", {**shown, "output": str(output)} | already)
    check_allowance(counts["rejected"], counts["samples"] + counts["rejected"], fail_on, str(rejected))
