"""How much work a drawing would be, counted without doing it.

Ten lines can ask for 2^25 circles, a billion dashes, or a style sheet that is tried on everything. `check` adds up
what the renderer would do, in units of about a tenth of a millisecond (one plain element), and refuses what is over
budget. It overstates rather than understates; what slips through is left to the time limit of the worker.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from ovrl.reward.markup import style_rules

MAX_WORK = 8_000
"""Plain elements; hand-made drawings stay below a few hundred."""
MAX_DEPTH = 100
"""Levels of nesting; groups with opacity keep one picture each."""

_NUMBER = re.compile(r"[-+]?(?>\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?+")
_SCALE = re.compile(r"\b(?:scale|matrix)\s*+\(([^)]*+)")
_DASHES = re.compile(r"stroke-dasharray\s*+:([^;}]*+)")
_COMBINATOR = re.compile(r"[\s>+~]++|:")

_GEOMETRY = frozenset(
    ("x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "width", "height", "d", "points", "transform",
     "stroke-width", "font-size", "style", "viewBox")
)  # fmt: skip
_NOT_INHERITED = frozenset(("mask", "clip-path", "filter"))
# What one of these costs beside its content, in plain elements: measured with cairosvg 2.9.
_SURFACE, _CHARACTER, _CORNER, _STOP, _DASH, _ATTRIBUTE, _LOOKUP, _SELECTOR = (
    15,
    0.3,
    0.1,
    0.05,
    0.04,
    0.003,
    0.005,
    0.01,
)


class TooCostlyError(ValueError):
    """A drawing is more work than `MAX_WORK`, is nested too deep, or refers to itself."""


def check(root: Element, size: int) -> None:
    """Raise `TooCostlyError` when drawing the tree on `size` x `size` pixels would be more than `MAX_WORK`."""
    depth, level = 0, [root]
    while level:
        level = [child for element in level for child in element]
        depth += 1
        if depth > MAX_DEPTH:
            raise TooCostlyError(f"nested deeper than {MAX_DEPTH}")
    work = _Survey(root, size, depth).total()
    if not work <= MAX_WORK:
        raise TooCostlyError(f"as much work as {work:.2g} elements, over {MAX_WORK}")


@dataclass(slots=True)
class _Work:
    elements: float
    """Plain elements that cost as much, with all that is referred to."""
    drawn: float
    """Elements that a property is handed down to."""
    corners: float
    """Points at which a marker may stand."""
    reach: float
    """The largest coordinate, in the units of the parent."""


class _Survey:
    """The work of every element of one drawing, each counted once however often it is used."""

    def __init__(self, root: Element, size: int, depth: int) -> None:
        self._root, self._size, self._depth = root, size, depth
        self._elements = list(root.iter())
        self._named: dict[str, list[Element]] = {}
        for element in self._elements:
            if name := element.get("id"):
                self._named.setdefault(name, []).append(element)
        self._sheet = "".join(element.text or "" for element in self._elements if _local(element) == "style")
        self._period = self._shortest_dash()
        self._done: dict[Element, _Work] = {}
        self._open: set[Element] = set()

    def total(self) -> float:
        work = self._work(self._root, 0)
        everything = work.drawn + work.corners
        elements = work.elements + self._style_work()
        for piece in re.split("[;{}]", self._sheet):
            for target in self._targets(piece):
                elements += self._work(target, 0).elements * everything
        # Curves are cut into the more pieces the larger they are; beyond a million pixels each costs by itself.
        reach = max(work.reach, _largest(self._sheet)) * max(1.0, _zoom(self._sheet)) ** self._depth
        return elements * (1 + math.sqrt(reach) / 150 + reach / 500_000)

    def _work(self, element: Element, inherited: int) -> _Work:
        """Return the work of an element that inherits so many attributes."""
        if element in self._done:
            return self._done[element]
        if element in self._open:
            raise TooCostlyError("refers to itself")
        self._open.add(element)
        attributes = inherited + len(element.attrib)
        parts = [self._work(child, attributes) for child in element]
        work = self._own(element, attributes)
        work.elements += sum(part.elements for part in parts)
        work.drawn += sum(part.drawn for part in parts)
        work.corners += sum(part.corners for part in parts)
        work.reach = max([work.reach, *(part.reach for part in parts)])
        references = [
            (name, self._work(target, attributes))
            for key, value in element.items()
            for name, piece in _declarations(key, value)
            for target in self._targets(piece)
        ]
        for name, target in references:
            work.reach = max(work.reach, target.reach)
            if name.endswith("href"):
                work.elements += target.elements + _LOOKUP * len(self._elements)
                work.drawn += target.drawn
                work.corners += target.corners
        for name, target in references:
            if name in _NOT_INHERITED:
                work.elements += target.elements + _SURFACE
            elif not name.endswith("href"):
                work.elements += target.elements * (work.drawn + (work.corners if "marker" in name else 0))
        work.reach *= self._scale(element)
        self._open.remove(element)
        self._done[element] = work
        return work

    def _own(self, element: Element, attributes: int) -> _Work:
        numbers = {name: _numbers(value) for name, value in element.items() if name in _GEOMETRY}
        text = len(element.text or "") + len(element.tail or "") if _local(element) != "style" else 0
        elements = (_STOP if _local(element) == "stop" else 1) + _CHARACTER * text + _ATTRIBUTE * attributes
        # cairosvg looks for definitions below every inner drawing anew, and for "url(" at every "url(".
        if _local(element) in ("svg", "symbol"):
            elements += _LOOKUP * len(self._elements)
        elements += sum(value.count("url(") * len(value) for _, value in element.items()) / 10_000
        if self._period:
            elements += _DASH * _length(element, numbers) / self._period
        corners = sum(len(numbers.get(name, ())) for name in ("d", "points")) / 2
        elements += _CORNER * corners
        reach = max((abs(value) for values in numbers.values() for value in values), default=0.0)
        return _Work(elements, 1, corners, reach)

    def _targets(self, value: str) -> Iterator[Element]:
        """Yield the elements that a property may refer to, as "#a", "url(#a)", "url('b.svg#a') red"."""
        _, mark, rest = value.partition("#")
        if mark:
            for name in {rest.strip("'\") "), rest.partition(")")[0].strip("'\" ")}:
                yield from self._named.get(name, ())

    def _scale(self, element: Element) -> float:
        scale = max([1.0, *(_zoom(value) for key, value in element.items() if key in ("style", "transform"))])
        box = _numbers(element.get("viewBox") or "")[2:4]
        if not box and element is self._root:
            box = _numbers(f"{element.get('width')} {element.get('height')}")
        shortest = min((side for side in box if side > 0), default=self._size)
        return scale * max(1.0 if element is not self._root else 0.0, self._size / shortest)

    def _shortest_dash(self) -> float:
        """Return the shortest period of dashes anywhere in the drawing, 0 when nothing is dashed."""
        patterns = [value for element in self._elements if (value := element.get("stroke-dasharray"))]
        for text in [self._sheet, *(element.get("style") or "" for element in self._elements)]:
            patterns += _DASHES.findall(text)
        averages = [sum(dashes) / len(dashes) for pattern in patterns if sum(dashes := _numbers(pattern)) > 0]
        return min(averages, default=0.0)

    def _style_work(self) -> float:
        """Return the work of trying every selector on every element; inner ones look through all ancestors."""
        work = 0.0
        for selectors, _ in style_rules(self._sheet):
            for selector in selectors.split(","):
                inner = max(0, len(_COMBINATOR.findall(selector.strip())) - 1)
                tries = min(1e9, float(self._depth) ** inner) * (len(self._elements) if ":has" in selector else 1)
                work += _SELECTOR * len(self._elements) * tries
        return work


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _declarations(key: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of an attribute, or of each declaration of a style attribute."""
    if key != "style":
        yield key, value
        return
    for declaration in value.split(";"):
        name, _, meant = declaration.partition(":")
        yield name.strip().lower(), meant


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]


def _largest(text: str) -> float:
    return max(map(abs, _numbers(text)), default=0.0)


def _zoom(transform: str) -> float:
    """Return by how much all the steps of a transformation may enlarge."""
    zoom = 1.0
    for arguments in _SCALE.findall(transform):
        zoom *= max(1.0, _largest(arguments))
    return zoom


def _length(element: Element, numbers: dict[str, list[float]]) -> float:
    """Return at least the length of an outline; control points and arc radii count in full."""
    sides = [abs(value) for name, values in numbers.items() if name not in ("d", "points") for value in values]
    length = 2 * math.pi * sum(sides)
    for name in ("d", "points"):
        values = numbers.get(name, [])
        moves = sum(abs(b - a) for a, b in zip(values, values[2:], strict=False))
        is_relative = any(letter in "achlmqstv" for letter in element.get(name) or "")
        is_arc = "a" in (element.get(name) or "").lower()
        length += max(moves, sum(map(abs, values)) if is_relative else 0) * (2 * math.pi if is_arc else 1)
    return length
