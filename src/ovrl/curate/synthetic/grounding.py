"""Grounding: the box of a named shape, in pixels of the picture."""

import random

from ovrl.curate.synthetic.canvas import COLORS, SHAPES, SIZE, Thing, blank, cells, filling, inside, paint
from ovrl.curate.synthetic.draft import Draft, Level

FORMAT = "[left, top, right, bottom] in pixels"


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a question whose answer is a box; the rule is plain IoU."""
    things = _scene(rng, level)
    wanted = rng.choice(things)
    shown = [thing for thing in things if thing is not wanted] if level == "impossible" else things
    vertical = ("top", "middle", "bottom")[min(2, int(wanted.center[1]) * 3 // SIZE)]
    horizontal = ("left", "center", "right")[min(2, int(wanted.center[0]) * 3 // SIZE)]
    return Draft(
        image=paint(blank(), shown),
        problem=f"Box the {wanted.name} as {FORMAT}.",
        answer=f"[{', '.join(map(str, wanted.box))}]",
        answer_type="bbox",
        problem_type="grounding",
        thinking=f"the {wanted.name} is at the {vertical} {horizontal}",
    )


def _scene(rng: random.Random, level: Level) -> list[Thing]:
    """Return shapes of which no two have the same name."""
    count, columns = {"trivial": (1, 2), "easy": (1, 4), "medium": (2, 4), "hard": (5, 4), "impossible": (3, 4)}[level]
    varied = level in ("hard", "impossible")
    names = rng.sample([(shape, color) for shape in SHAPES for color in COLORS], count)
    places = cells(rng, count, columns=columns)
    return [
        Thing(shape, color, inside(rng, cell, least=14, most=22) if varied else filling(cell))
        for (shape, color), cell in zip(names, places, strict=True)
    ]
