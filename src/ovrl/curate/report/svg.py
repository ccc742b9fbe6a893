"""Draw the plots of the page as SVG text. Colors are classes of the page's style, so that light and dark both work.

Drawn here and not by a plotting library: that takes longer to load than the curation of 67,000 samples takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

WIDTH = 380
"""Units of a plot; about as many pixels as it has on a telephone, so that its letters stay readable."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 6, 36, 52  # of the place where a share of 0 or 1 stands, disks around it included
_PAD = 16
_NAME = 20  # characters of a label that fit beside bars


@dataclass(slots=True)
class _Drawing:
    """Elements of one plot; y grows downwards."""

    title: str
    height: int
    parts: list[Markup] = field(default_factory=list[Markup])

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "rule") -> None:
        self.parts.append(
            Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(x1, y1, x2, y2, kind)
        )

    def text(self, x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> None:
        self.parts.append(
            Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(x, y, anchor, kind, text)
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> None:
        self.parts.append(
            Markup(
                '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}"><title>{}</title></rect>'
            ).format(x, y, max(0.0, width), max(0.0, height), kind, tip)
        )

    def disk(self, x: float, y: float, radius: float, kind: str, tip: str) -> None:
        self.parts.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" class="{}"><title>{}</title></circle>').format(
                x, y, radius, kind, tip
            )
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(Markup('<polyline points="{}" class="{}"/>').format(listed, kind))

    def finish(self) -> Markup:
        frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
        return frame.format(WIDTH, self.height, self.title, Markup("").join(self.parts))


def _unit_axes(drawing: _Drawing, x_label: str, y_label: str, *, x_unit: bool = True) -> None:
    """Draw percent axes for a plot whose y, and perhaps x, runs from 0 to 1."""
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(drawing, tick)
        drawing.line(_LEFT, y, WIDTH - _RIGHT, y)
        drawing.text(_LEFT - 5, y + 4, f"{tick:.0%}", "end")
        if x_unit:
            drawing.text(_x(tick), drawing.height - 20, f"{tick:.0%}")
    drawing.text((_LEFT + WIDTH - _RIGHT) / 2, drawing.height - 4, x_label)
    drawing.text(0, 11, y_label, "start")


def _x(share: float) -> float:
    return _place(share, _LEFT + _PAD, WIDTH - _RIGHT - _PAD)


def _y(drawing: _Drawing, share: float) -> float:
    return _place(share, drawing.height - _BOTTOM, _TOP)


def _place(share: float, low: float, high: float) -> float:
    return low + share * (high - low)


def places(
    title: str,
    groups: Mapping[str, Mapping[tuple[float, float], int]],
    *,
    x_label: str,
    y_label: str,
) -> Markup:
    """Return disks on the unit square, whose area grows with the number of samples at that place.

    Args:
        title: said by screen readers.
        groups: class of the disks -> (x, y) -> samples. A later class lies above an earlier one, and in a
            class the smaller disk above the larger.
        x_label: under the plot.
        y_label: at the top left.
    """
    drawing = _Drawing(title, 320)
    _unit_axes(drawing, x_label, y_label)
    drawing.line(_x(0.0), _y(drawing, 0.0), _x(1.0), _y(drawing, 1.0), "diagonal")
    most = max((count for found in groups.values() for count in found.values()), default=1)
    for kind, found in groups.items():
        for (x, y), count in sorted(found.items(), key=lambda disk: (-disk[1], disk[0])):
            tip = f"{count:,} {kind}: {x_label} {x:.0%}, {y_label} {y:.0%}"
            radius = 2.5 + 13.0 * (count / most) ** 0.5
            drawing.disk(_x(x), _y(drawing, y), radius, kind, tip)
    return drawing.finish()


def curves(title: str, series: Mapping[str, Sequence[float]], *, x_label: str, y_label: str) -> Markup:
    """Return one line for each series of shares; the first value stands at x = 1, and x doubles at each tick."""
    drawing = _Drawing(title, 260)
    _unit_axes(drawing, x_label, y_label, x_unit=False)
    longest = max((len(values) for values in series.values()), default=1)
    octaves = max(1, (longest - 1).bit_length())

    def x(k: int) -> float:
        low = k.bit_length() - 1
        return _x((low + k / (1 << low) - 1.0) / octaves)  # log2, straight between the ticks

    for exponent in range(octaves + 1):
        if 1 << exponent <= longest:
            drawing.text(x(1 << exponent), drawing.height - 20, str(1 << exponent))
    for kind, values in series.items():
        points = [(x(k), _y(drawing, value)) for k, value in enumerate(values, start=1)]
        drawing.path(points, f"curve {kind}")
        for (px, py), (k, value) in zip(points, enumerate(values, start=1), strict=True):
            drawing.disk(px, py, 2.2, kind, f"{kind}: {x_label} {k}, {value:.1%}")
    return drawing.finish()


def histogram(title: str, before: Sequence[int], after: Sequence[int]) -> Markup:
    """Return two histograms over [0, 1], one before the other: all samples, and those that were kept."""
    drawing = _Drawing(title, 130)
    bottom, top = drawing.height - 22, 12
    most = max([1, *before])
    left, right = 34, WIDTH - _RIGHT
    for tick in (0, most):
        y = _place(tick / most, bottom, top)
        drawing.line(left, y, right, y)
        drawing.text(left - 5, y + 4, _short(tick), "end")
    step = (right - left) / len(before)
    for index, (whole, kept) in enumerate(zip(before, after, strict=True)):
        low, high = index / len(before), (index + 1) / len(before)
        tip = f"pass@1 {low:.0%} to {high:.0%}: {whole:,} samples, {kept:,} kept"
        for kind, count in (("drop", whole), ("keep", kept)):
            y = _place(count / most, bottom, top)
            drawing.box(left + index * step + 0.6, y, step - 1.2, bottom - y, f"bar {kind}", tip)
    for tick in (0.0, 0.5, 1.0):
        anchor = "start" if tick == 0 else "end" if tick == 1 else "middle"
        drawing.text(_place(tick, left, right), drawing.height - 6, f"{tick:.0%}", anchor)
    return drawing.finish()


def bars(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], *, percent: bool = False) -> Markup:
    """Return horizontal bars, one for each series below each label, with their values beside them.

    Args:
        title: said by screen readers.
        labels: one for each row.
        series: class of the bars -> value for each label.
        percent: whether values are shares.
    """
    thick, gap = 13, 9
    row = thick * len(series) + gap
    drawing = _Drawing(title, row * len(labels) + 6)
    left, right = 136, WIDTH - 56
    most = max([value for values in series.values() for value in values] or [1.0]) or 1.0
    for index, label in enumerate(labels):
        top = 4 + index * row
        short = label if len(label) <= _NAME else f"{label[: _NAME // 2]}…{label[-_NAME // 2 + 1 :]}"
        drawing.text(left - 6, top + thick * len(series) / 2 + 4, short, "end")
        for order, (kind, values) in enumerate(series.items()):
            value = values[index]
            y = top + order * thick
            shown = f"{value:.1%}" if percent else f"{value:,.0f}"
            drawing.box(left, y, (right - left) * value / most, thick - 2, f"bar {kind}", f"{label}: {shown} {kind}")
            drawing.text(left + (right - left) * value / most + 4, y + thick - 4, shown, "start", "value")
    return drawing.finish()


def _short(count: int) -> str:
    return f"{count / 1000:.3g}k" if count >= 1000 else str(count)
