"""The bonus of spatial-reasoning problems: a bounding box named while thinking (weight 0.5)."""

import re

from ovrl.reward.extract import think_blocks
from ovrl.reward.outcome import Mode

PROBLEM_TYPE = "spatial-reasoning"
WEIGHT = 0.5

# Minus sign, digits, at most one fraction: "+1", ".5", "5." and "1e-1" never counted in published runs.
_NUMBER = r"(-?\d++(?:\.\d++)?)"
_BOX = re.compile(rf"\[\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+\]")


def bonus(completion: str, mode: Mode) -> float:
    """Return 1.0 when a think block holds a bracket of exactly four numbers, else 0.0.

    `strict` asks for a box with an area (x1 < x2 and y1 < y2), so that "[0, 0, 0, 0]" earns nothing.
    """
    for block in think_blocks(completion):
        for match in _BOX.finditer(block):
            if mode == "ov15" or _has_area(*match.groups()):
                return 1.0
    return 0.0


def _has_area(left: str, top: str, right: str, bottom: str) -> bool:
    return float(left) < float(right) and float(top) < float(bottom)
