"""EMA-GRPO of OneThinker: each type of problem has one slowly moving scale for its rewards."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ovrl.settings import Settings
from ovrl.train.recipe import Recipe
from ovrl.train.trajectory import Group

_SMALLEST = 1e-3
_LARGEST = 5.0
"""An advantage above it makes its group use its own standard deviation."""


class EmaGrpo(Recipe):
    """A = (r - mean of the group) / sigma of the problem type: for rewards of different scales in one run."""

    class Options(Settings):
        """The released code's figure."""

        decay: float = Field(default=0.99, ge=0, lt=1)
        """What is left of the moments after a step."""

    _moments: dict[str, tuple[float, float]] | None = None

    def credit(self, groups: Sequence[Group]) -> list[list[list[float]]]:
        """Move the moments by the rewards of the step, then return the advantages.

        m1, m2 <- decay m + (1 - decay) (moments of the step); sigma = max(sqrt(m2 - m1^2), 1e-3). The first step
        sets them.
        """
        rewards: dict[str, list[float]] = defaultdict(list)
        for group in groups:
            rewards[group.sample.question.problem_type] += self.rewards(group)
        moments = dict(self._moments or {})
        for kind, paid in rewards.items():
            step = statistics.fmean(paid), statistics.fmean(r * r for r in paid)
            old, decay = moments.get(kind, step), self.options.decay
            moments[kind] = decay * old[0] + (1 - decay) * step[0], decay * old[1] + (1 - decay) * step[1]
        self._moments = moments
        return super().credit(groups)

    def normalize(self, group: Group) -> list[float]:
        """Return (r - mean) / sigma, or the group's own standard score where that would exceed 5."""
        first, second = (self._moments or {})[group.sample.question.problem_type]
        sigma = max(math.sqrt(max(0.0, second - first * first)), _SMALLEST)
        rewards = self.rewards(group)
        mean = statistics.fmean(rewards)
        scaled = [(reward - mean) / sigma for reward in rewards]
        return super().normalize(group) if max(map(abs, scaled)) > _LARGEST else scaled

    def state_dict(self) -> dict[str, Any]:
        """Return the moments."""
        return {**super().state_dict(), "ema_moments": {kind: list(m) for kind, m in (self._moments or {}).items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the moments back."""
        super().load_state_dict(state)
        self._moments = {kind: (first, second) for kind, (first, second) in state["ema_moments"].items()}
