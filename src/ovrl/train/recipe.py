"""The seam for methods: a recipe answers a few questions, and the loop asks them. The defaults are GRPO.

    reject(group) -> why a group must not train, or None
    credit(groups) -> one advantage for each sampled token; sees the whole step
    token_weight(batch) -> a factor on each token's policy loss
    extra_losses(batch, logp) -> further losses of each token, by name

Hooks take and return immutable data. Everything is per token, and `step` reduces it all in one place, so
that no recipe can normalize wrongly.
"""

import statistics
from collections.abc import Sequence

from torch import Tensor

from ovrl.train.batch import Batch
from ovrl.train.objective import behaviour_weight
from ovrl.train.settings import ObjectiveSettings
from ovrl.train.trajectory import Group

STD_EPSILON = 1e-5
"""Keeps a group whose rewards nearly agree from being blown up; the recipe's value."""


class Recipe:
    """GRPO (arXiv:2402.03300) with the decoupled objective (arXiv:2505.24298)."""

    def __init__(self, objective: ObjectiveSettings) -> None:
        self.objective = objective

    def reject(self, group: Group) -> str | None:
        """Return why the group must not train, or None.

        A group with a completion that could not be judged would learn from the grader's failure. A group
        whose rewards all agree has no advantage, and only dilutes the mean (DAPO, arXiv:2503.14476).
        """
        rewards = group.rewards
        if any(reward is None for reward in rewards):
            return "unscored"
        if len(set(rewards)) == 1:
            return "zero_variance"
        return None

    def credit(self, groups: Sequence[Group]) -> list[list[list[float]]]:
        """Return advantages [group][completion][token].

        A = (r - mean) / (std + 1e-5) within the group, with the unbiased standard deviation, the same for
        every token of a completion (equation 3 of arXiv:2402.03300, outcome supervision).
        """
        return [
            [
                [advantage] * len(trajectory.token_ids)
                for trajectory, advantage in zip(group.trajectories, self.normalize(group), strict=True)
            ]
            for group in groups
        ]

    def normalize(self, group: Group) -> list[float]:
        """Return one advantage for each completion of a group."""
        rewards = [reward for reward in group.rewards if reward is not None]
        mean, spread = statistics.fmean(rewards), statistics.stdev(rewards)
        return [(reward - mean) / (spread + STD_EPSILON) for reward in rewards]

    def token_weight(self, batch: Batch, proximal: Tensor) -> Tensor:
        """Return [b, t] factors on the policy loss: exp(proximal - behaviour), limited at the cap.

        It corrects for tokens that another policy sampled (equation 5 of arXiv:2505.24298). Above the cap
        the weight is 0 (`mask`) or the cap itself (`truncate`).
        """
        return behaviour_weight(
            proximal,
            batch.behaviour,
            batch.mask,
            cap=self.objective.behaviour_cap,
            mode=self.objective.behaviour_mode,
        )

    def extra_losses(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Return further losses by name, [b, t] each; they are added to the policy loss. None here."""
        del batch, logp
        return {}
