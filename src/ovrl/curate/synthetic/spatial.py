"""Spatial relations: where one shape lies, seen from another."""

import random
from typing import Literal, get_args

from ovrl.curate.synthetic.canvas import COLORS, SHAPES, Thing, blank, cells, filling, inside, paint
from ovrl.curate.synthetic.draft import Draft, Level

Relation = Literal["left", "right", "above", "below"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
_OPPOSITE: dict[Relation, Relation] = {"left": "right", "right": "left", "above": "below", "below": "above"}


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a yes-no question (`trivial`) or a choice among four relations."""
    first, second, *others = _scene(rng, level)
    truth = relation(first, second)
    shown = [second, *others] if level == "impossible" else [first, second, *others]
    image = paint(blank(), shown)
    boxes = "; ".join(f"{thing.name} [{', '.join(map(str, thing.box))}]" for thing in (first, second))
    if level == "trivial":
        asked = rng.choice((truth, _OPPOSITE[truth]))
        return Draft(
            image=image,
            problem=f"Is the {first.name} {_phrase(asked)} the {second.name}?",
            answer="yes" if asked == truth else "no",
            answer_type="boolean",
            problem_type="spatial-reasoning",
            thinking=f"{boxes}; {truth}",
        )
    options = list(RELATIONS)
    if level != "easy":
        rng.shuffle(options)
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
    return Draft(
        image=image,
        problem=f"Where is the {first.name}, seen from the {second.name}?{listed}",
        answer="ABCD"[options.index(truth)],
        answer_type="multiple-choice",
        problem_type="spatial-reasoning",
        thinking=f"{boxes}; {truth}",
    )


def relation(first: Thing, second: Thing) -> Relation:
    """Return the relation along the axis on which the centers lie farther apart."""
    (x1, y1), (x2, y2) = first.center, second.center
    if abs(x1 - x2) > abs(y1 - y2):
        return "left" if x1 < x2 else "right"
    return "above" if y1 < y2 else "below"


def _phrase(name: Relation) -> str:
    return f"{name} of" if name in ("left", "right") else name


def _scene(rng: random.Random, level: Level) -> list[Thing]:
    """Return shapes with different names; the first two are clearly apart along one axis."""
    count, columns = {"trivial": (2, 2), "easy": (2, 4), "medium": (2, 4)}.get(level, (5, 4))
    side = 24 if columns == 4 else 48
    while True:
        names = rng.sample([(shape, color) for shape in SHAPES for color in COLORS], count)
        places = cells(rng, count, columns=columns)
        rng.shuffle(places)
        varied = level in ("hard", "impossible")
        boxes = [
            inside(rng, cell, least=side * 2 // 3, most=side - 2, step=2) if varied else filling(cell)
            for cell in places
        ]
        things = [Thing(shape, color, box) for (shape, color), box in zip(names, boxes, strict=True)]
        (x1, y1), (x2, y2) = things[0].center, things[1].center
        if abs(abs(x1 - x2) - abs(y1 - y2)) >= 12:
            return things
