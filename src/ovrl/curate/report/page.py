"""The report as one HTML page that loads nothing from anywhere."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment
from markupsafe import Markup, escape

from ovrl import __version__
from ovrl.curate.estimators import gap_peak
from ovrl.curate.report import markdown, svg
from ovrl.curate.report.examples import Example
from ovrl.curate.row import Row
from ovrl.curate.summary import CurationSummary, Tally

_MOST_GROUPS = 12
"""Histograms and bars of a plot; the smallest sources are left to the table."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A finished plot with its words."""

    title: str
    caption: str
    drawing: Markup
    legend: Mapping[str, str]
    """Class -> word."""


def to_html(summary: CurationSummary, rows: Sequence[Row], examples: Sequence[Example]) -> str:
    """Return the page.

    Args:
        summary: what was done.
        rows: one for each input sample.
        examples: samples to show.
    """
    content = {
        "version": __version__,
        "headline": markdown.headline(summary),
        "plots": [*_overview(summary, rows), *_compositions(summary)],
        "sources": _histograms(summary.sources),
        "left_out": max(0, len(summary.sources) - _MOST_GROUPS),
        "reasons": markdown.reasons(summary),
        "total": max(1, summary.overall.samples),
        "tallies": _tallies(summary),
        "targets": summary.targets,
        "guessing": markdown.guessing(summary),
        "remarks": markdown.remarks(summary),
        "in_force": markdown.in_force(summary.settings),
        "examples": examples,
        "seed": summary.seed,
    }
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = _code
    template = resources.files("ovrl.curate.report").joinpath("page.html").read_text(encoding="utf-8")
    text = environment.from_string(template).render(content)
    return text.encode("utf-8", errors="replace").decode()  # lone surrogates of sources


def _code(text: str) -> Markup:
    """Return text with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _overview(summary: CurationSummary, rows: Sequence[Row]) -> list[Plot]:
    """Return what happened to the samples as a whole."""
    decisions = {"drop": "dropped", "keep": "kept"}
    ks = Counter(row.statistics.k for row in rows if row.statistics.k is not None)
    k = ks.most_common(1)[0][0] if ks else None
    plots: list[Plot] = []
    if k is not None:
        peak = f" The gap is widest at pass@1 = {gap_peak(k):.0%}." if k > 1 else ""
        plots.append(
            Plot(
                "pass@k against pass@1",
                f"Each sample once; k = {k} for most. Height over the diagonal is the gap; the area of a disk is "
                f"the number of samples.{peak}",
                svg.places("pass@k against pass@1", _places(rows), x_label="pass@1", y_label="pass@k"),
                decisions,
            )
        )
        plots.append(
            Plot(
                "pass@k",
                "Mean over samples: the right end is what more attempts would find.",
                svg.curves("pass@k", summary.curve, x_label="k", y_label="pass@k"),
                {"all": "all", "kept": "kept"},
            )
        )
    counts = list(summary.reasons.items())
    plots.append(
        Plot(
            "Reasons",
            "Samples; the first rule that does not hold gives the reason.",
            svg.bars(
                "Samples by reason",
                [name.replace("_", " ") for name, _ in counts],
                {"drop": [count for _, count in counts]},
            ),
            {},
        )
    )
    return plots


def _places(rows: Iterable[Row]) -> dict[str, dict[tuple[float, float], int]]:
    """Return how many dropped and kept samples share each (pass@1, pass@k), to a hundredth."""
    found: dict[str, Counter[tuple[float, float]]] = {"drop": Counter(), "keep": Counter()}
    for row in rows:
        x, y = row.statistics.pass_at_1, row.statistics.pass_at_k
        if x is not None and y is not None:
            found["keep" if row.keep else "drop"][round(x, 2), round(y, 2)] += 1
    return {kind: dict(places) for kind, places in found.items()}


def _compositions(summary: CurationSummary) -> list[Plot]:
    plots = [
        _composition("By source", summary.sources),
        _composition("By problem type", summary.problem_types),
        _composition("By answer type", summary.answer_types),
    ]
    return [*plots, *(plot for stage in (1, 2) if (plot := _against_target(summary, stage)))]


def _composition(title: str, tallies: Mapping[str, Tally]) -> Plot:
    shown = sorted(tallies.items(), key=lambda item: (-item[1].samples, item[0]))[:_MOST_GROUPS]
    samples = max(1, sum(tally.samples for tally in tallies.values()))
    kept = max(1, sum(tally.kept for tally in tallies.values()))
    left_out = len(tallies) - len(shown)
    return Plot(
        title,
        "Share of the samples before, and of the kept ones."
        + (f" The {left_out} smallest are not shown." if left_out else ""),
        svg.bars(
            title,
            [name for name, _ in shown],
            {
                "drop": [tally.samples / samples for _, tally in shown],
                "keep": [tally.kept / kept for _, tally in shown],
            },
            percent=True,
        ),
        {"drop": "before", "keep": "kept"},
    )


def _against_target(summary: CurationSummary, stage: int) -> Plot | None:
    targets = [target for target in summary.targets if target.stage == stage]
    if not targets:
        return None
    wanted = max(1, sum(target.wanted for target in targets))
    taken = max(1, sum(target.taken for target in targets))
    return Plot(
        f"Stage {stage} against its target",
        f"Share of the stage's rows. Wanted are {wanted:,}, and there are {taken:,}.",
        svg.bars(
            f"Stage {stage} against its target",
            [target.group + (" again" if target.replay else "") for target in targets],
            {
                "target": [target.wanted / wanted for target in targets],
                "keep": [target.taken / taken for target in targets],
            },
            percent=True,
        ),
        {"target": "target", "keep": "taken"},
    )


def _histograms(sources: Mapping[str, Tally]) -> list[tuple[str, str, Markup]]:
    """Return (source, its counts, histogram) of the largest sources."""
    shown = sorted(sources.items(), key=lambda item: (-item[1].samples, item[0]))[:_MOST_GROUPS]
    return [
        (name, f"{tally.kept:,} of {tally.samples:,} kept", svg.histogram(name, tally.before, tally.after))
        for name, tally in shown
    ]


def _tallies(summary: CurationSummary) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Return (first column, rows) of each table of figures before and after."""
    named = {
        "stage": {"all": summary.overall, **summary.stages},
        "source": summary.sources,
        "problem type": summary.problem_types,
        "answer type": summary.answer_types,
    }
    return [
        (name, [markdown.tally_cells(key, tally) for key, tally in tallies.items()]) for name, tallies in named.items()
    ]
