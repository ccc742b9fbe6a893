"""The bonus of spatial-reasoning problems: a bounding box named while thinking (weight 0.5)."""

import math
import re

from ovrl.reward.extract import think_blocks
from ovrl.reward.outcome import Mode

PROBLEM_TYPE = "spatial-reasoning"
WEIGHT = 0.5
MAX_SIDE = 512
"""Training pictures are shrunk to 512 x 512 pixels: what is narrower than one of them cannot be seen."""

# Minus sign, digits, at most one fraction: "+1", ".5", "5." and "1e-1" never counted in published runs.
_NUMBER = r"(-?\d++(?:\.\d++)?)"
_BOX = re.compile(rf"\[\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+\]")


def bonus(completion: str, mode: Mode) -> float:
    """Return 1.0 when a think block holds a bracket of exactly four numbers, else 0.0.

    `strict` asks for a box that can be seen: at least one pixel wide and high where its largest coordinate is
    `MAX_SIDE`. Fractions of the picture may name any two opposite corners; numbers above 1 can be anything, and
    count as a box only with the upper left corner first. So neither "[0, 0, 0, 0]" nor a countdown nor four years
    in a row earn anything.
    """
    for block in think_blocks(completion):
        for match in _BOX.finditer(block):
            if mode == "ov15" or _is_visible(*match.groups()):
                return 1.0
    return 0.0


def _is_visible(*numbers: str) -> bool:
    left, top, right, bottom = map(float, numbers)
    largest = max(map(abs, (left, top, right, bottom)))
    width, height = right - left, bottom - top
    if largest <= 1:
        width, height = abs(width), abs(height)
    return 0 < largest <= MAX_SIDE * min(width, height) < math.inf
