"""Diagrams: compare the bars of a chart, follow the arrows of a chain."""

import random

from PIL import Image, ImageDraw

from ovrl.curate.synthetic.canvas import CELL, COLORS, INK, SIZE, blank
from ovrl.curate.synthetic.draft import Draft, Level


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a choice among the colors of a chart or of a chain."""
    if level == "medium" and rng.random() < 0.5:
        return _chain(rng)
    count = {"trivial": 2, "easy": 3}.get(level, 4)
    bars = rng.sample(list(COLORS), count)
    gap, most = (5, 15) if level == "hard" else (CELL - 2, 4)
    heights = [gap * step for step in rng.sample(range(1, most + 1), count)]
    image = _bars(bars, heights)
    ranked = sorted(bars, key=lambda bar: -heights[bars.index(bar)])
    thinking = ", ".join(f"{bar} {height}" for bar, height in zip(bars, heights, strict=True))
    if level == "impossible":
        return _choice(rng, image, "Which bar was tallest last year?", bars, rng.choice(bars), "not shown")
    if level == "hard":
        return _choice(rng, image, "Which bar is second tallest?", bars, ranked[1], thinking)
    shuffled = level not in ("trivial", "easy")
    return _choice(rng, image, "Which bar is tallest?", bars, ranked[0], thinking, shuffled=shuffled)


def _bars(bars: list[str], heights: list[int]) -> Image.Image:
    image = blank()
    pen = ImageDraw.Draw(image)
    for index, (bar, height) in enumerate(zip(bars, heights, strict=True)):
        left = CELL * index + 4
        pen.rectangle((left, SIZE - 4 - height, left + 15, SIZE - 5), fill=COLORS[bar])
    pen.line((0, SIZE - 4, SIZE, SIZE - 4), fill=INK, width=2)
    return image


def _chain(rng: random.Random) -> Draft:
    """Return a chain of four boxes, left to right or right to left, and ask for a successor."""
    links = rng.sample(list(COLORS), 4)
    image = blank()
    pen = ImageDraw.Draw(image)
    top = rng.randint(0, SIZE - CELL)
    forward = rng.random() < 0.5
    for index, link in enumerate(links):
        left = CELL * index
        pen.rectangle((left, top + 4, left + 13, top + 18), fill=COLORS[link])
        if index < len(links) - 1:
            tip, tail = (left + 22, left + 15) if forward else (left + 15, left + 22)
            pen.polygon([(tail, top + 5), (tail, top + 17), (tip, top + 11)], fill=INK)
    order = links if forward else links[::-1]
    index = rng.randrange(3)
    problem = f"Which box follows the {order[index]} one?"
    return _choice(rng, image, problem, links, order[index + 1], f"order {' '.join(order)}")


def _choice(
    rng: random.Random,
    image: Image.Image,
    problem: str,
    options: list[str],
    truth: str,
    why: str,
    *,
    shuffled: bool = True,
) -> Draft:
    """Return the question with its options, in the order of the picture or shuffled."""
    listed = rng.sample(options, len(options)) if shuffled else options
    lines = "".join(f"\n{letter}. {option}" for letter, option in zip("ABCD", listed, strict=False))
    return Draft(
        image=image,
        problem=problem + lines,
        answer="ABCD"[listed.index(truth)],
        answer_type="multiple-choice",
        problem_type="stem",
        thinking=f"{why}; {truth}",
    )
