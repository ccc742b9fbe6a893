"""PAPO: answers must depend on the image (arXiv:2507.06448)."""

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from ovrl.settings import Settings
from ovrl.train import objective
from ovrl.train.batch import Batch
from ovrl.train.recipe import Recipe
from ovrl.train.views import Masked, View

_LIMIT = 10.0
"""Largest divergence of a token that counts. Its slope in logp, 1 - exp(masked - logp), is unbounded where masking
made a token likelier; this is the only bound."""


class Papo(Recipe):
    """Subtracts gamma x KL(image || masked image): the policy is paid for what it would not say without the image.

    As in the released code, no gradient flows through the masked pass; the entropy under it is a figure alone.
    """

    class Options(Settings):
        """The paper's figures."""

        gamma: NonNegativeFloat = 0.01
        """Of the divergence; 0.02 with a reference KL."""
        mask: float = Field(default=0.6, ge=0, le=1)
        """Probability that a patch is blacked out."""
        patch: PositiveInt = 14
        """Pixels along a side."""
        entropy: NonNegativeFloat = 0.03
        """Of the entropy term, -logp: it keeps both distributions from flattening out."""

    @property
    def views(self) -> tuple[View, ...]:
        """The masked image."""
        chosen = self.options
        return (*super().views, Masked(chosen.mask, chosen.patch))

    def extra_losses(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Add -gamma KL, estimated by k3 as in the released code, and the entropy term; 0 without an image."""
        masked, seen = _masked(batch)
        gap = objective.divergence(logp, masked, seen, estimator="k3").clamp(max=_LIMIT)
        certainty = torch.where(seen, -logp, 0.0)
        chosen = self.options
        mine = {"papo_kl": -chosen.gamma * gap, "papo_entropy": chosen.entropy * certainty}
        return {**super().extra_losses(batch, logp), **mine}

    def figures(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Log the share of tokens that became likelier without the image: there the gradient is large."""
        masked, seen = _masked(batch)
        return {**super().figures(batch, logp), "papo_reversed": (seen & (masked > logp)).float()}


def _masked(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return log-probabilities under the masked image, and where there are any, [b, t] each."""
    found = batch.aux["logp@masked"]
    seen = batch.mask & ~found.isnan()
    return torch.where(seen, found, 0.0), seen
