"""One optimizer step's gradient: the same for every recipe.

loss = sum over tokens of (weights x policy loss + extra terms) x share of the token
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ovrl.train import objective
from ovrl.train.aggregation import Totals, share
from ovrl.train.batch import Batch
from ovrl.train.recipe import Recipe


@dataclass(slots=True)
class Tally:
    """Sums over the sampled tokens of a step, and largest values."""

    tokens: int = 0
    sums: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, name: str, values: Tensor, mask: Tensor) -> None:
        """Add up a [b, t] quantity over the sampled tokens."""
        self.sums[name] = self.sums.get(name, 0.0) + float(objective.token_sum(values.detach(), mask))

    def largest(self, name: str, value: Tensor) -> None:
        """Keep the largest value so far; its name ends in `_max`."""
        self.sums[name] = max(self.sums.get(name, 0.0), float(value))

    def figures(self) -> dict[str, float]:
        """Return the mean over tokens of each quantity, and the largest values."""
        count = max(1, self.tokens)
        return {name: value if name.endswith("_max") else value / count for name, value in self.sums.items()}

    @staticmethod
    def merged(parts: "Sequence[Tally]") -> "Tally":
        """Return what several ranks have added up."""
        whole = Tally(sum(part.tokens for part in parts))
        for part in parts:
            for name, value in part.sums.items():
                known = whole.sums.get(name, 0.0)
                whole.sums[name] = max(known, value) if name.endswith("_max") else known + value
        return whole


def accumulate(
    model: Any,
    batch: Batch,
    recipe: Recipe,
    *,
    totals: Totals,
    tally: Tally,
    backward: Callable[[Tensor], None],
) -> None:
    """Add one micro-batch's part to the gradient, and its figures to `tally`.

    Args:
        model: finds the log-probability and the entropy of each token of a batch, see `Scorer`.
        batch: the micro-batch, with the log-probabilities that the recipe's views and its reference need.
        recipe: the losses of each token.
        totals: counts of the whole update, over all micro-batches and ranks.
        tally: where figures are added up.
        backward: called with the scalar loss.
    """
    logp, entropy = model(batch)
    loss = token_loss(batch, logp, recipe, tally)
    aggregation = recipe.objective.aggregation
    loss = loss * share(batch.mask, batch.groups, totals, aggregation=aggregation, longest=recipe.longest)
    backward(objective.token_sum(loss, batch.mask))
    tally.tokens += int(batch.mask.sum())
    tally.add("loss", loss * totals.tokens, batch.mask)  # a mean over tokens, like the other figures
    tally.add("entropy", entropy, batch.mask)


def token_loss(batch: Batch, logp: Tensor, recipe: Recipe, tally: Tally) -> Tensor:
    """Return the loss of each token, [b, t], and add its figures to `tally`.

    Without log-probabilities of their own, the policy itself is the proximal one: before the first update of a step
    another forward pass would find the same numbers.

    Args:
        batch: the micro-batch.
        logp: [b, t] natural-log probabilities under the policy being trained; carries the gradient.
        recipe: the losses.
        tally: where figures are added up.
    """
    mask = batch.mask
    now = logp.detach() if batch.proximal is None else batch.proximal
    policy = recipe.policy_loss(batch, logp, batch.behaviour if recipe.objective.anchor == "rollout" else now)
    loss = policy.weight * recipe.token_weight(batch, now) * policy.surrogate
    for name, term in recipe.extra_losses(batch, logp).items():
        loss = loss + term
        tally.add(name, term, mask)
    for name, values in recipe.figures(batch, logp.detach()).items():
        tally.add(name, values, mask)
    difference = torch.where(mask, batch.behaviour - now, 0.0)
    tally.add("clip_fraction", policy.clipped.float(), mask)
    tally.add("behaviour_masked", (policy.weight == 0).float(), mask)
    tally.add("behaviour_kl", objective.divergence(batch.behaviour, now, mask, estimator="k3"), mask)
    if difference.numel():
        tally.largest("behaviour_gap_max", difference.abs().max())
    return loss
