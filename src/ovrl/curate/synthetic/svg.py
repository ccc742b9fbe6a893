"""SVG: write the source of a drawing of one or two shapes."""

import random

from ovrl.curate.synthetic.canvas import COLORS, SIZE, Thing, blank, cells, filling, inside, paint
from ovrl.curate.synthetic.draft import Draft, Level

HEAD = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">'
TAIL = "</svg>"


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a drawing and its source."""
    things = _scene(rng, level)
    image = blank() if level == "impossible" else paint(blank(), things)
    if level == "impossible":  # a lone dot, so that no two of these are the same picture
        dot = inside(rng, (0, 0, SIZE, SIZE), least=2, most=6)
        paint(image, [Thing("square", rng.choice(list(COLORS)), dot)])
    return Draft(
        image=image,
        problem="Write the SVG of this drawing.",
        answer=HEAD + "".join(map(_element, things)) + TAIL,
        answer_type="svg-code",
        problem_type="coding",
        thinking=", ".join(thing.name for thing in things),
    )


def _scene(rng: random.Random, level: Level) -> list[Thing]:
    count = {"trivial": 1, "easy": 1}.get(level, 2)
    columns = 2 if level == "trivial" else 4
    varied = level in ("hard", "impossible")
    places = cells(rng, count, columns=columns)
    shapes, colors = ("circle", "square"), list(COLORS)
    return [
        Thing(
            rng.choice(shapes),
            rng.choice(colors),
            inside(rng, cell, least=16, most=24, step=2) if varied else filling(cell),
        )
        for cell in places
    ]


def _element(thing: Thing) -> str:
    left, top, right, bottom = thing.box
    if thing.shape == "circle":
        x, y = (left + right) // 2, (top + bottom) // 2
        return f'<circle cx="{x}" cy="{y}" r="{(right - left) // 2}" fill="{thing.color}"/>'
    size = f'width="{right - left}" height="{bottom - top}"'
    return f'<rect x="{left}" y="{top}" {size} fill="{thing.color}"/>'
