"""Draw small plots as inline SVG that takes its ink from the page, so that light and dark both work."""

import hashlib
import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ovrl.eval.intervals import Interval

# Told apart also by the color-blind, and readable on white and on near-black.
BLUE, ORANGE, GREEN, PURPLE, GRAY, RED = "#3d85d9", "#d97b21", "#2b9e74", "#a06bd6", "#8b919c", "#d0564f"
_WHEEL = (BLUE, ORANGE, GREEN, PURPLE, RED, GRAY)

# Stand-ins that become CSS colors in the finished SVG.
_INK, _LINE = "#010203", "#040506"
_THEMED = {_INK: "currentColor", _LINE: "var(--line)"}

_WIDTH = 4.4  # inches at 72 units each: at the usual 380 px of a column, 9 units are 11 px
_FONT = 9
_MOST_POINTS = 300  # of a curve; more are not seen at this size and only make the page heavy


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over steps."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Plot:
    """A finished plot."""

    title: str
    svg: Markup
    caption: str = ""


def curves(title: str, given: Sequence[Curve], *, percent: bool = False, caption: str = "") -> Plot:
    """Return each curve as raw points with a moving mean over a twentieth of the run."""
    figure, axes = _axes(2.5)
    for curve, color in zip(given, _WHEEL, strict=False):
        steps, values = list(curve.steps), list(curve.values)
        window = max(1, len(values) // 20)
        chosen = _thinned(len(values))
        axes.plot(
            [steps[i] for i in chosen],
            [values[i] for i in chosen],
            linestyle="none",
            marker="o",
            markersize=2.6,
            markeredgewidth=0,
            color=color,
            alpha=0.4,
        )
        smooth = moving_mean(values, window)
        axes.plot(
            [steps[i] for i in chosen],
            [smooth[i] for i in chosen],
            color=color,
            linewidth=1.6,
            label=_plain(curve.label),
        )
    _finish_steps(axes, percent=percent, legend=len(given) > 1)
    return Plot(title, _svg(figure, title), caption)


def stack(title: str, steps: Sequence[float], parts: Mapping[str, Sequence[float]], *, caption: str = "") -> Plot:
    """Return the parts of a whole over steps, one on the other; long runs are averaged in blocks."""
    figure, axes = _axes(2.5)
    blocks = _blocks(len(steps), 60)
    centers = [_mean(steps[a:b]) for a, b in blocks]
    width = (centers[1] - centers[0]) * 0.9 if len(centers) > 1 else 0.8
    bottom = [0.0] * len(blocks)
    for (label, values), color in zip(parts.items(), _cycle(len(parts)), strict=True):
        heights = [_mean(values[a:b]) for a, b in blocks]
        axes.bar(centers, heights, width=width, bottom=bottom, color=color, label=_plain(label), linewidth=0)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    _finish_steps(axes, percent=False, legend=True)
    return Plot(title, _svg(figure, title), caption)


def dots(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[Interval | None]], *, caption: str = ""
) -> Plot:
    """Return a row for each label, from the top, with a dot and its interval for each series."""
    figure, axes = _axes(0.75 + 0.3 * len(labels) * max(1.0, 0.62 * len(series)) + 0.2 * (len(series) > 1))
    offsets = [(i - (len(series) - 1) / 2) * 0.26 for i in range(len(series))]
    colors = (GRAY, BLUE) if len(series) == 2 else _cycle(len(series))
    if len(series) == 1:
        colors = (BLUE,)
    for (name, values), offset, color in zip(series.items(), offsets, colors, strict=True):
        rows = [(y + offset, v) for y, v in enumerate(values) if v is not None]
        axes.errorbar(
            [v.mean for _, v in rows],
            [y for y, _ in rows],
            xerr=[[max(0.0, v.mean - v.low) for _, v in rows], [max(0.0, v.high - v.mean) for _, v in rows]],
            fmt="o",
            markersize=4.5,
            linewidth=1.4,
            color=color,
            label=_plain(name),
        )
    axes.set_yticks(range(len(labels)), [_plain(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=-0.025)  # from zero, so that lengths can be compared
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    if len(series) > 1:
        _legend(axes)
    return Plot(title, _svg(figure, title), caption)


def bars(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], *, caption: str = "") -> Plot:
    """Return horizontal bars of counts, one for each series below each label."""
    figure, axes = _axes(0.8 + 0.34 * len(labels) + 0.2)
    height = 0.8 / max(1, len(series))
    for i, (name, values) in enumerate(series.items()):
        places = [y - 0.4 + height * (i + 0.5) for y in range(len(labels))]
        axes.barh(places, list(values), height=height * 0.9, color=(GRAY, BLUE, ORANGE)[i % 3], label=name)
    axes.set_yticks(range(len(labels)), [_plain(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    _legend(axes)
    return Plot(title, _svg(figure, title), caption)


def histogram(title: str, groups: Mapping[str, Sequence[float]], *, x_label: str, caption: str = "") -> Plot:
    """Return the distribution of shares between 0 and 1, the groups one on the other."""
    figure, axes = _axes(2.6)
    edges = [i / 20 for i in range(21)]
    axes.hist(
        [list(values) for values in groups.values()],
        bins=edges,
        stacked=True,
        color=[BLUE, GRAY, ORANGE][: len(groups)],
        label=[_plain(name) for name in groups],
        rwidth=0.92,
    )
    axes.set_xlabel(x_label)
    axes.set_ylabel("samples")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    _legend(axes)
    return Plot(title, _svg(figure, title), caption)


def bubbles(
    title: str,
    groups: Mapping[str, Mapping[tuple[float, float], int]],
    *,
    x_label: str,
    y_label: str,
    caption: str = "",
) -> Plot:
    """Return counts at places of the unit square as disks, whose area grows with the count."""
    figure, axes = _axes(2.6)
    most = max((count for places in groups.values() for count in places.values()), default=1)
    for order, ((name, places), color) in enumerate(zip(groups.items(), (BLUE, GRAY, ORANGE), strict=False)):
        axes.scatter(
            [x for x, _ in places],
            [y for _, y in places],
            s=[12 + 220 * count / most for count in places.values()],
            color=color,
            alpha=0.65,
            linewidths=0,
            label=_plain(name),
            zorder=3 - order,
        )
    axes.plot([0, 1], [0, 1], color=_LINE, linewidth=1, zorder=0)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xlim(-0.06, 1.06)
    axes.set_ylim(-0.09, 1.09)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _legend(axes, marker_size=5.0)
    return Plot(title, _svg(figure, title), caption)


def moving_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of `window` values around each one, of fewer at the ends; centered, so without lag."""
    means: list[float] = []
    for i in range(len(values)):
        part = values[max(0, i - (window - 1) // 2) : i + window // 2 + 1]
        means.append(math.fsum(part) / len(part))
    return means


def _axes(height: float) -> tuple[Figure, Axes]:
    """Return an empty plot of the common width, `height` inches high."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_LINE)
    axes.tick_params(labelsize=_FONT, labelcolor=_INK, color=_LINE, length=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_INK)
        axis.label.set_fontsize(_FONT)
        axis.get_offset_text().set(color=_INK, fontsize=_FONT)
    axes.set_axisbelow(True)
    return figure, axes


def _finish_steps(axes: Axes, *, percent: bool, legend: bool) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    if legend:
        _legend(axes)


def _legend(axes: Axes, *, marker_size: float | None = None) -> None:
    """Put the legend above the plot, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    legend = axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=min(3, len(labels)),
        frameon=False,
        fontsize=_FONT,
        labelcolor=_INK,
        handlelength=1.2,
        columnspacing=1.2,
        borderaxespad=0.1,
    )
    if marker_size is not None:
        for handle in legend.legend_handles:
            if hasattr(handle, "set_sizes"):
                handled: Any = handle
                handled.set_sizes([marker_size**2])


def _svg(figure: Figure, title: str) -> Markup:
    """Return the figure as an `<svg>` element that fills its container and loads nothing."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ovrl"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has more fonts than we
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    mark = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]  # ids must differ between the plots of a page
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{mark}", text)
    for stand_in, color in _THEMED.items():
        text = text.replace(stand_in, color)
    label = Markup.escape(title)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))  # matplotlib escapes text


def _plain(text: str) -> str:
    """Return the label short, on one line, and with no dollar signs that would be read as mathematics."""
    line = "".join(char if char.isprintable() else " " for char in text)
    short = line if len(line) <= 26 else f"{line[:12]}...{line[-11:]}"
    return short.replace("$", r"\$")


def _thinned(count: int) -> list[int]:
    """Return at most `_MOST_POINTS` indices, evenly spread, the last one included."""
    if count <= _MOST_POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (_MOST_POINTS - 1)) for i in range(_MOST_POINTS)]


def _blocks(count: int, most: int) -> list[tuple[int, int]]:
    size = max(1, math.ceil(count / most))
    return [(start, min(count, start + size)) for start in range(0, count, size)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _cycle(count: int) -> list[str]:
    return [_WHEEL[i % len(_WHEEL)] for i in range(count)]
