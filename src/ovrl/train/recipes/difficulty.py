"""Advantages weighted by how hard a prompt is. Together with a sampler that prefers middling prompts this counts twice.

`p` is the share of right answers in a group.
"""

import math
import statistics
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from ovrl.settings import Settings
from ovrl.train.recipe import Recipe
from ovrl.train.trajectory import Group


class Odsw(Recipe):
    """Online difficulty soft weighting of VL-Cogito (arXiv:2507.22607)."""

    weighs_difficulty = True

    class Options(Settings):
        """The stage of its curriculum."""

        stage: Literal["easy", "medium", "hard"] = "medium"

    def normalize(self, group: Group) -> list[float]:
        """Return the advantages times F(p)."""
        weight = soft_weight(statistics.fmean(group.accuracies), self.options.stage)
        return [weight * value for value in super().normalize(group)]


class Observe(Recipe):
    """Observe-R1 (arXiv:2505.12432): a weight that peaks at even odds, and a bonus for the shortest right answer."""

    weighs_difficulty = True

    class Options(Settings):
        """The released code's figures."""

        peak: PositiveFloat = 1.8
        """Weight at p = 1/2."""
        bonus: float = 0.2
        shortest: PositiveInt = 100
        """Tokens above which the shortest right answer is paid the bonus."""

    def rewards(self, group: Group) -> list[float]:
        """Return the rewards, the shortest right answer with its bonus."""
        paid = super().rewards(group)
        lengths = [len(trajectory.token_ids) for trajectory in group.trajectories]
        right = [k for k, accuracy in enumerate(group.accuracies) if accuracy == 1]
        if right and lengths[best := min(right, key=lambda k: lengths[k])] > self.options.shortest:
            paid[best] += self.options.bonus
        return paid

    def normalize(self, group: Group) -> list[float]:
        """Return the advantages times 4 peak p (1 - p)."""
        p = statistics.fmean(group.accuracies)
        return [4 * self.options.peak * p * (1 - p) * value for value in super().normalize(group)]


def soft_weight(p: float, stage: str) -> float:
    """Return F(p) of a stage: sin(pi p), on one side of even odds replaced by 1.

    easy: sin(pi p) up to 1/2, then 1. medium: sin(pi p). hard: 1/4 at p = 0, 1 up to 1/2, then sin(pi p).
    """
    wave = math.sin(math.pi * p)
    if stage == "easy":
        return wave if p < 0.5 else 1.0
    if stage == "hard" and p <= 0.5:
        return 0.25 if p == 0 else 1.0
    return wave
