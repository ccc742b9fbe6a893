"""Dynamic length reward of VL-Cogito (arXiv:2507.22607): wrong answers pay for being shorter or longer than right ones.

Its repetition penalty for wrong answers is a reward component, and not part of this.
"""

import math
import statistics

from pydantic import PositiveInt

from ovrl.errors import UsageError
from ovrl.settings import Settings
from ovrl.train.recipe import Recipe
from ovrl.train.settings import ObjectiveSettings
from ovrl.train.trajectory import Group


class Dylr(Recipe):
    """GRPO with a target length for thinking."""

    class Options(Settings):
        """Where nobody in a group is right."""

        target: PositiveInt = 750
        """Tokens below which wrong answers pay."""
        limit: PositiveInt = 4096
        """Tokens beyond which they pay in full."""

    def use(self, chosen: ObjectiveSettings, *, longest: int) -> None:
        """Take the settings; truncated completions must train, for theirs is the largest penalty.

        Raises:
            UsageError: they are left out.
        """
        super().use(chosen, longest=longest)
        if self.objective.advantage.truncated == "leave_out":
            raise UsageError(
                "train.recipe dylr: set objective.advantage.truncated=train, or nobody pays for endless answers"
            )

    def rewards(self, group: Group) -> list[float]:
        """Return the rewards, those of wrong answers less their penalty."""
        lengths = [len(trajectory.token_ids) for trajectory in group.trajectories]
        right = [length for length, accuracy in zip(lengths, group.accuracies, strict=True) if accuracy == 1]
        return [
            paid if accuracy == 1 else paid + self._penalty(length, right)
            for paid, accuracy, length in zip(super().rewards(group), group.accuracies, lengths, strict=True)
        ]

    def _penalty(self, length: int, right: list[int]) -> float:
        if right:
            return penalty(length, statistics.fmean(right))
        if length > self.options.limit:
            return -0.5
        return penalty(length, self.options.target) if length < self.options.target else 0.0


def penalty(length: float, target: float) -> float:
    """Return -(1 + cos(pi length / target)) / 4 up to twice the target, and -1/2 beyond: 0 at the target itself."""
    return -0.5 if length >= 2 * target else -0.25 * (1 + math.cos(math.pi * length / target))
