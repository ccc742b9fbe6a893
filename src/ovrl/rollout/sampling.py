"""Draw tokens from logits, one row at a time as far as chance is concerned.

Axes: b sequences, v words of the vocabulary.
"""

import numpy as np
import torch
from torch import Tensor

from ovrl.rollout.engine import Sampling


def uniforms(seed: int, count: int) -> np.ndarray:
    """Return `count` numbers in [0, 1) that depend on `seed` alone; a longer draw begins like a shorter one."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


def mask_banned(logits: Tensor, banned: Tensor) -> Tensor:
    """Return the logits, in float32, with the banned words at minus infinity.

    Args:
        logits: [..., v].
        banned: [v] True on words that may not be drawn.
    """
    return logits.float().masked_fill(banned, -torch.inf)


def draw(logits: Tensor, chance: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return one token for each row, and its log-probability.

    The token is found by inverting the cumulative distribution at `chance`, so that a row depends on its
    own number and on nothing beside it.

    Args:
        logits: [b, v] float32, banned words at minus infinity.
        chance: [b] float64 in [0, 1).
        sampling: temperature and truncation.

    Returns:
        ids [b], and log-probabilities [b] under the untempered, untruncated distribution.
    """
    policy = logits.log_softmax(dim=-1)
    if sampling.temperature == 0:
        ids = logits.argmax(dim=-1)
    else:
        tempered = truncate(logits / sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p)
        cumulative = tempered.softmax(dim=-1).double().cumsum(dim=-1)
        target = (chance * cumulative[:, -1]).unsqueeze(1)
        ids = torch.searchsorted(cumulative, target, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)
    return ids, policy.gather(1, ids.unsqueeze(1)).squeeze(1)


def truncate(logits: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """Return the logits with everything outside the top k words, or the top p mass, at minus infinity.

    The nucleus is the smallest set of likeliest words whose mass reaches `top_p` (arXiv:1904.09751).

    Args:
        logits: [b, v].
        top_k: 0 keeps all.
        top_p: 1 keeps all.
    """
    if top_k:
        floor = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        mass_before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        outside = (mass_before >= top_p).scatter(1, order, mass_before >= top_p)
        outside.scatter_(1, order[:, :1], value=False)  # the likeliest word always stays
        logits = logits.masked_fill(outside, -torch.inf)
    return logits
