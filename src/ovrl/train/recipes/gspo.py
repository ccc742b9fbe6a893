"""GSPO: one importance ratio for each completion, and the mean of completions as the loss (arXiv:2507.18071)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ovrl.train.recipe import Recipe


class Gspo(Recipe):
    """Equation 5 of the paper, with the bounds of its section 5.1: geometric means of ratios stay close to 1."""

    defaults: ClassVar[Mapping[str, Any]] = {
        "level": "sequence",
        "aggregation": "sequences",
        "clip_low": 3e-4,
        "clip_high": 4e-4,
    }
