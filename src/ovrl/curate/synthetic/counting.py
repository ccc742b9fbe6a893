"""Counting: how many shapes, or how many of one color, or of one color and shape."""

import random

from PIL import Image, ImageDraw

from ovrl.curate.synthetic.canvas import CELL, COLORS, SHAPES, SIZE, Thing, blank, cells, filling, inside, paint
from ovrl.curate.synthetic.draft import Draft, Level


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a counting question with a number for an answer."""
    if level == "impossible":
        return _hidden(rng)
    things = _scene(rng, level)
    wanted = rng.choice(things)
    if level in ("trivial", "easy"):
        matching, what = things, "shapes"
    elif level == "medium":
        matching, what = [thing for thing in things if thing.color == wanted.color], f"{wanted.color} shapes"
    else:
        matching, what = [thing for thing in things if thing.name == wanted.name], f"{wanted.name}s"
    rows = [sum(int(thing.center[1]) // CELL == row for thing in matching) for row in range(SIZE // CELL)]
    return _draft(
        paint(blank(), things),
        f"How many {what} are there?",
        len(matching),
        f"rows {' + '.join(map(str, rows))}",
    )


def _scene(rng: random.Random, level: Level) -> list[Thing]:
    least, most = {"trivial": (1, 3), "easy": (1, 5), "medium": (3, 7)}.get(level, (8, 13))
    shapes, colors = list(SHAPES), list(COLORS)
    if level == "trivial":
        shapes, colors = [rng.choice(shapes)], [rng.choice(colors)]
    elif level != "easy":
        colors = rng.sample(colors, 3)
    places = cells(rng, rng.randint(least, most))
    boxes = [inside(rng, cell, least=12, most=22) if level == "hard" else filling(cell) for cell in places]
    return [Thing(rng.choice(shapes), rng.choice(colors), box) for box in boxes]


def _hidden(rng: random.Random) -> Draft:
    """Return a question about shapes behind a board."""
    image = blank()
    x, y = rng.randint(2, 20), rng.randint(2, 20)
    gray = rng.randint(120, 190)
    ImageDraw.Draw(image).rectangle((x, y, SIZE - y, SIZE - x), fill=(gray, gray, gray))
    shape = rng.choice(SHAPES)
    return _draft(image, f"How many {shape}s are behind the board?", rng.randint(1, 9), "they are hidden")


def _draft(image: Image.Image, problem: str, count: int, thinking: str) -> Draft:
    return Draft(
        image=image,
        problem=problem,
        answer=str(count),
        answer_type="number",
        problem_type="counting",
        thinking=thinking,
    )
