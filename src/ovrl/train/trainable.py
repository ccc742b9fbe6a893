"""What of a model is trained, by which optimizer, and what is remembered on the way."""

from typing import Any

import torch
from torch import nn

from ovrl.errors import UsageError
from ovrl.rollout import anatomy
from ovrl.train.settings import OptimizerSettings


def optimizer(model: Any, options: OptimizerSettings) -> torch.optim.AdamW:
    """Return AdamW (arXiv:1711.05101) over the weights that are trained."""
    return torch.optim.AdamW(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=options.lr,
        betas=(options.beta1, options.beta2),
        eps=options.eps,
        weight_decay=options.weight_decay,
    )


def freeze(model: Any, *, tower: bool, projector: bool) -> None:
    """Take the vision tower or the projector behind it, or both, out of the training.

    Raises:
        UsageError: the model has none that is known.
    """
    seen, mapped = anatomy.tower(model), anatomy.projector(model)
    if (tower and seen is None) or (projector and mapped is None):
        raise UsageError("train.learner.freeze_vision, freeze_projector: this model has no such part that ovrl knows")
    behind = set(mapped.parameters()) if mapped is not None else set[nn.Parameter]()
    if tower and seen is not None:
        for weight in set(seen.parameters()) - behind:
            weight.requires_grad = False
    if projector:
        for weight in behind:
            weight.requires_grad = False


def checkpoint_activations(model: Any) -> None:
    """Forget what the layers computed, and compute it again on the way back."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
