"""How the losses of tokens become the loss of an update. The counts are those of the whole update, never of a part.

tokens      sum / (tokens)                        DAPO (arXiv:2503.14476, equation 8) and the original
sequences   mean of the completions' means        GRPO (arXiv:2402.03300, equation 3)
groups      mean of the groups' token means       each prompt counts the same
constant    sum / (completions x longest allowed) Dr. GRPO (arXiv:2503.20783)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ovrl.train.batch import Item


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of one optimizer update, over all micro-batches and ranks."""

    tokens: int
    """Sampled tokens."""
    completions: int
    groups: tuple[int, ...]
    """Sampled tokens of each group, by its index in the step; 0 for one that is not in this update."""

    @staticmethod
    def of(items: "Sequence[Item]") -> "Totals":
        """Return the counts of all items of an update."""
        sizes = [0] * (1 + max((item.group for item in items), default=-1))
        for item in items:
            sizes[item.group] += len(item.trajectory.token_ids)
        return Totals(sum(sizes), len(items), tuple(sizes))


def share(mask: Tensor, groups: Tensor, totals: Totals, *, aggregation: str, longest: int) -> Tensor:
    """Return what each token's loss is multiplied by, [b, 1], so that the sum over the update is its loss.

    Args:
        mask: [b, t] True on sampled tokens.
        groups: [b] index of the completion's group in the step.
        totals: of the update.
        aggregation: tokens, sequences, groups or constant.
        longest: tokens that a completion may have.
    """
    if aggregation == "tokens":
        count = torch.full_like(groups, totals.tokens)
    elif aggregation == "sequences":
        count = totals.completions * mask.sum(dim=1)
    elif aggregation == "groups":
        present = sum(size > 0 for size in totals.groups)
        count = present * torch.tensor(totals.groups, device=groups.device)[groups]
    else:
        count = torch.full_like(groups, totals.completions * longest)
    return 1.0 / count.clamp(min=1).double().unsqueeze(1)
