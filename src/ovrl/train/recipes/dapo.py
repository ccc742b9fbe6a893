"""DAPO's dynamic filtering (arXiv:2503.14476).

The rest of DAPO is settings: the token mean and the higher upper bound are the defaults, soft overlong punishment is
`objective.advantage.overlong_buffer`.
"""

import statistics

from pydantic import Field

from ovrl.settings import Settings
from ovrl.train.recipe import Recipe
from ovrl.train.trajectory import Group


class Dapo(Recipe):
    """Groups train only if their mean accuracy is strictly inside (low, high); rejected ones are replaced."""

    class Options(Settings):
        """Bounds on the mean accuracy of a group."""

        low: float = Field(default=0.0, ge=0, lt=1)
        high: float = Field(default=1.0, gt=0, le=1)

    def reject(self, group: Group) -> str | None:
        """Return why the group must not train: constraint of equation 11 of the paper, on accuracy.

        Not on the reward: bonuses for form or length would let a group through that is all right or all wrong.
        """
        if (reason := super().reject(group)) is not None:
            return reason
        mean = statistics.fmean(group.accuracies)
        if mean <= self.options.low:
            return "too_hard"
        return "too_easy" if mean >= self.options.high else None
