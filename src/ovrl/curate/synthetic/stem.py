"""STEM: sums written in the picture, rectangles with their sides, triangles with two angles."""

import random

from PIL import Image, ImageDraw

from ovrl.curate.synthetic.canvas import CELL, COLORS, INK, SIZE, blank, letters, words
from ovrl.curate.synthetic.draft import Draft, Level
from ovrl.records import AnswerType


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a small computation that has to be read from the picture."""
    if level == "medium" and rng.random() < 0.5:
        return _rectangle(rng)
    if level == "hard":
        return _triangle(rng) if rng.random() < 0.5 else _sum(rng, rng.randint(10, 60), rng.randint(2, 9))
    most = {"trivial": 2, "easy": 4}.get(level, 9)
    fixed = level in ("trivial", "easy")
    return _sum(rng, rng.randint(1, most), rng.randint(1, most), hidden=level == "impossible", fixed=fixed)


def _sum(rng: random.Random, first: int, second: int, *, hidden: bool = False, fixed: bool = False) -> Draft:
    """Return a sum; `hidden` covers its second number, `fixed` always writes it in one place."""
    image = blank()
    text = f"{first}+{second}"
    row, start = 1, 0
    if not fixed:
        row, start = rng.randrange(SIZE // CELL), CELL * rng.randint(0, SIZE // CELL - len(text))
    letters(image, text, row=row, color=rng.choice(list(COLORS.values())), left=start)
    if hidden:
        left, top = start + CELL * (len(text) - 1), row * CELL
        ImageDraw.Draw(image).ellipse((left, top, left + CELL, top + CELL), fill=INK)
        second = rng.randint(1, 9)
    return _draft(image, "What is the sum?", first + second, f"{first} + {second}", kind="number")


def _rectangle(rng: random.Random) -> Draft:
    width, height = rng.randint(2, 5), rng.randint(2, 5)
    image = blank()
    right, bottom = CELL + 8 * width, CELL + 8 * height
    color = rng.choice(list(COLORS.values()))
    ImageDraw.Draw(image).rectangle((CELL, CELL, right, bottom), outline=color, width=3)
    words(image, str(width), (CELL + CELL // 2, CELL // 2), size=20, anchor="mm")
    words(image, str(height), (CELL // 2, CELL + CELL // 2), size=20, anchor="mm")
    if rng.random() < 0.5:
        return _draft(image, "What is the area of the rectangle?", width * height, f"{width} * {height}")
    around = 2 * (width + height)
    return _draft(image, "What is the perimeter of the rectangle?", around, f"2 * ({width} + {height})")


def _triangle(rng: random.Random) -> Draft:
    left, right = rng.randrange(30, 80, 10), rng.randrange(30, 80, 10)
    image = blank()
    peak = rng.randint(40, 56)
    ImageDraw.Draw(image).polygon([(4, 70), (92, 70), (peak, 8)], outline=INK, width=2)
    words(image, str(left), (CELL // 2, 84), size=18, anchor="mm")
    words(image, str(right), (SIZE - CELL // 2, 84), size=18, anchor="mm")
    problem = "Two angles of the triangle are given in degrees. What is the third?"
    return _draft(image, problem, 180 - left - right, f"180 - {left} - {right}")


def _draft(
    image: Image.Image, problem: str, value: int, thinking: str, *, kind: AnswerType = "math-expressions"
) -> Draft:
    return Draft(
        image=image,
        problem=problem,
        answer=str(value),
        answer_type=kind,
        problem_type="stem",
        thinking=thinking,
    )
