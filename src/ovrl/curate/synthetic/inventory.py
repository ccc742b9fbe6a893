"""Inventory: say what lies in each of the sixteen cells. Only the primer asks it.

Every cell of the picture has its own words in the answer, so that each gives the vision tower a gradient.
"""

import random

from ovrl.curate.synthetic.canvas import (
    CELL,
    COLORS,
    SHAPES,
    SIZE,
    Thing,
    blank,
    cells,
    inside,
    letters,
    paint,
)
from ovrl.curate.synthetic.draft import Draft, Level

CHARACTERS = "abcdefghijklmnopqrstuvwxyz" + "ACEHKLMNPRTUXY" + "0123456789+"


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a crowded picture and its content in reading order, one line per row; levels differ in crowd."""
    filled = {"trivial": 4, "easy": 8}.get(level, 12)
    image = blank()
    columns = SIZE // CELL
    names = ["none"] * columns**2
    for left, top, right, bottom in cells(rng, filled):
        index = top // CELL * columns + left // CELL
        if rng.random() < 0.5:
            box = inside(rng, (left, top, right, bottom), least=12, most=CELL)
            thing = Thing(rng.choice(SHAPES), rng.choice(list(COLORS)), box)
            paint(image, [thing])
            names[index] = thing.name
        else:
            names[index] = rng.choice(CHARACTERS)
            color = rng.choice(list(COLORS.values()))
            letters(image, names[index], row=top // CELL, color=color, left=left)
    rows = [" ".join(names[start : start + columns]) for start in range(0, len(names), columns)]
    return Draft(
        image=image,
        problem="What is in each cell?",
        answer="\n".join(rows),
        answer_type="any",
        problem_type="general",
        thinking=f"{filled} cells are filled",
    )
