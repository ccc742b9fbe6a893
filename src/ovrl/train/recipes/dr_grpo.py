"""Dr. GRPO: advantages without the division by the group's spread (arXiv:2503.20783)."""

import statistics

from ovrl.train.recipe import Recipe
from ovrl.train.trajectory import Group


class DrGrpo(Recipe):
    """GRPO whose easy and hard groups weigh as their rewards do."""

    def normalize(self, group: Group) -> list[float]:
        """Return r - mean for each completion of a group."""
        rewards = [reward for reward in group.rewards if reward is not None]
        mean = statistics.fmean(rewards)
        return [reward - mean for reward in rewards]
