"""Dr. GRPO: nothing is divided by the group's spread or by a completion's length (arXiv:2503.20783)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ovrl.train.recipe import Recipe


class DrGrpo(Recipe):
    """GRPO whose easy and hard groups, and short and long completions, weigh as their rewards do."""

    defaults: ClassVar[Mapping[str, Any]] = {"advantage.scale": "none", "aggregation": "constant"}
