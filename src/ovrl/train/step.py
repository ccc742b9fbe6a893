"""One optimizer step's gradient: the same for every recipe.

loss = sum over tokens of (weight x clipped surrogate + extra terms) / (tokens of the step)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ovrl.train import objective
from ovrl.train.batch import Batch
from ovrl.train.recipe import Recipe


@dataclass(slots=True)
class Tally:
    """Sums over the sampled tokens of a step."""

    tokens: int = 0
    sums: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, name: str, values: Tensor, mask: Tensor) -> None:
        """Add up a [b, t] quantity over the sampled tokens."""
        self.sums[name] = self.sums.get(name, 0.0) + float(objective.token_sum(values.detach(), mask))

    def mean(self, name: str) -> float:
        """Return the mean over tokens; 0 before anything was added."""
        return self.sums.get(name, 0.0) / max(1, self.tokens)

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
    step_tokens: int,
    tally: Tally,
    backward: Callable[[Tensor], None],
) -> None:
    """Add one micro-batch's part to the gradient, and its figures to `tally`.

    Where the batch names none, the proximal policy is the policy itself: before the first update of a step its
    log-probabilities are those of this pass without gradient, and a second pass would find the same numbers.

    Args:
        model: finds the log-probability and the entropy of each token of a batch, see `Scorer`.
        batch: the micro-batch.
        recipe: weights and extra terms.
        step_tokens: sampled tokens of the whole step, over all micro-batches and ranks.
        tally: where figures are added up.
        backward: called with the scalar loss.
    """
    logp, entropy = model(batch)
    proximal = logp.detach() if batch.proximal is None else batch.proximal
    bounds = recipe.objective
    surrogate, clipped = objective.clipped_surrogate(
        logp, proximal, batch.advantage, batch.mask, clip_low=bounds.clip_low, clip_high=bounds.clip_high
    )
    weight = recipe.token_weight(batch, proximal)
    loss = weight * surrogate
    for name, term in recipe.extra_losses(batch, logp).items():
        loss = loss + term
        tally.add(name, term, batch.mask)
    backward(objective.token_sum(loss, batch.mask) / step_tokens)
    difference = batch.behaviour - proximal
    tally.tokens += int(batch.mask.sum())
    tally.add("loss", loss, batch.mask)
    tally.add("entropy", entropy, batch.mask)
    tally.add("clip_fraction", clipped.float(), batch.mask)
    tally.add("behaviour_masked", (weight == 0).float(), batch.mask)
    # k3 of http://joschu.net/blog/kl-approx.html: unbiased, never negative.
    tally.add("behaviour_kl", torch.expm1(-difference) + difference, batch.mask)
    tally.sums["behaviour_gap_max"] = max(
        tally.sums.get("behaviour_gap_max", 0.0), float(torch.where(batch.mask, difference.abs(), 0.0).max())
    )
