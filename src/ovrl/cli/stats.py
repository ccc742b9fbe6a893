"""`ovrl data stats`: counts, lengths and sizes of a data set."""

from typing import TYPE_CHECKING

from ovrl.cli import options, render
from ovrl.cli.session import Session, command

if TYPE_CHECKING:
    from ovrl.curate.stats import Stats

EXAMPLES = (
    "ovrl data stats demo/data/pool.parquet",
    "ovrl data stats demo/data/pool.parquet --json | head -1",
)

_SHOWN = 20
"""Rows of a table; a set with more sources than this shows the rest as one."""


@command
def stats(
    session: Session,
    *,
    source: options.InputArgument = None,
    source_option: options.InputOption = None,
    origin: options.From = None,
    images: options.Images = None,
    limit: options.Limit = None,
    shard: options.Shard = None,
    fail_on: options.FailOn = "0",
) -> None:
    """Count sources and types, measure texts and images."""
    from ovrl.cli.inputs import Samples
    from ovrl.curate.stats import gather
    from ovrl.rejects import Rejects, check_allowance
    from ovrl.selection import Selection

    selection = Selection.parse(limit, shard)
    read = Samples(options.one_input(source, source_option), origin, images, seed=session.seed)
    bad = Rejects(None)
    with render.progress(session, "data stats", selection.count(read.rows or 0) or None) as advance:
        found = gather(read(bad, selection), advance)
    counts = {"samples": found.samples, **bad.counts(), **read.skipped()}
    if session.as_json:
        render.summary(session, "data stats", found.encode() | counts)
    else:
        _show(session, found)
        render.summary(session, "data stats", counts)
    total = found.samples + bad.count
    check_allowance(bad.count, total, fail_on, "the warnings above", lost_files=bad.lost_files)


def _show(session: Session, found: "Stats") -> None:
    from ovrl.curate.stats import MEASURES

    for name, counter in (*found.kinds.items(), ("image_format", found.formats)):
        total, common = counter.total(), counter.most_common(_SHOWN)
        rows: list[tuple[str, int]] = [*common]
        if len(counter) > _SHOWN:
            rows.append((f"{len(counter) - _SHOWN} others", total - sum(count for _, count in common)))
        if rows:
            shares = [(label, count, f"{count / total:.1%}") for label, count in rows]
            render.table(session, "", (name, "count", "share"), shares)
            render.note(session, "")
    measured = {name: found.quantiles(name) for name in MEASURES}
    rows_ = [(name, *values.values(), MEASURES[name]) for name, values in measured.items() if values]
    if rows_:
        render.table(session, "", ("measure", "min", "median", "p95", "max", "unit"), rows_)
