"""Draw tokens from logits, one row at a time as far as chance is concerned.

Axes: b sequences, v words of the vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ovrl.rollout.engine import Sampling

_LOGITS = 10
"""Margin of a logit for a margin of 1 in probability: noise in the logit of a word moves its mass by a fraction."""


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


@dataclass(frozen=True, slots=True)
class Drawn:
    """One token for each row."""

    ids: Tensor
    """[b]."""
    logprobs: Tensor
    """[b] under the untempered, untruncated distribution."""
    sampling_logprobs: Tensor
    """[b] under the distribution that was drawn from."""
    sure: Tensor
    """[b] whether the same token is drawn with probabilities that differ by less than the margin."""


def draw(logits: Tensor, chance: Tensor, sampling: Sampling, *, margin: float = 0.0) -> Drawn:
    """Return one token for each row, and its log-probabilities.

    The token is found by inverting the cumulative distribution at `chance`, so that a row depends on its
    own number and on nothing beside it.

    Args:
        logits: [b, v] float32, banned words at minus infinity.
        chance: [b] float64 in [0, 1).
        sampling: temperature and truncation.
        margin: how far, in probability, a token must be from every other to be sure.
    """
    policy = logits.log_softmax(dim=-1)
    if sampling.temperature == 0:
        best = logits.topk(2, dim=-1)
        ids = best.indices[:, 0]
        logprobs = _of(ids, policy)
        sure = best.values[:, 0] - best.values[:, 1] >= _LOGITS * margin
        return Drawn(ids, logprobs, torch.zeros_like(logprobs), sure)
    if sampling.distribution == (1.0, 1.0, 0):
        drawn_from, steady = policy, None
    else:
        drawn_from, steady = _reshaped(logits, sampling, margin)
    cumulative = drawn_from.exp().double().cumsum(dim=-1)
    target = (chance * cumulative[:, -1]).unsqueeze(1)
    ids = torch.searchsorted(cumulative, target, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)
    above = _of(ids, cumulative) - target.squeeze(1)
    below = _of(ids, drawn_from).exp() - above
    sure = torch.minimum(above, below) >= margin
    return Drawn(ids, _of(ids, policy), _of(ids, drawn_from), sure if steady is None else sure & steady)


def _of(ids: Tensor, values: Tensor) -> Tensor:
    return values.gather(1, ids.unsqueeze(1)).squeeze(1)


def _reshaped(logits: Tensor, sampling: Sampling, margin: float) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities [b, v] after temperature and truncation, and [b] whether the truncation is sure."""
    # Relative to the likeliest word, so that a temperature near 0 cannot overflow.
    tempered = (logits - logits.amax(dim=-1, keepdim=True)) / sampling.temperature
    few = truncate(tempered, top_k=sampling.top_k, top_p=1.0)
    nucleus = truncate(few, top_k=0, top_p=sampling.top_p)
    steady = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    if margin and 0 < sampling.top_k < logits.shape[-1]:
        steady &= _clear_top_k(tempered, sampling.top_k, margin)
    if margin and sampling.top_p < 1:
        steady &= _clear_nucleus(few, nucleus.isfinite(), sampling.top_p, margin)
    return nucleus.log_softmax(dim=-1), steady


def _clear_top_k(logits: Tensor, top_k: int, margin: float) -> Tensor:
    """Return [b], whether the last of the top k is well above the next word, or too rare to matter."""
    last, following = logits.topk(top_k + 1, dim=-1).values[:, -2:].unbind(dim=1)
    rare = (last - logits.logsumexp(dim=-1)).exp() < margin
    return (last - following >= _LOGITS * margin) | rare


def _clear_nucleus(logits: Tensor, inside: Tensor, top_p: float, margin: float) -> Tensor:
    """Return [b], whether little noise leaves the same words in the nucleus, or changes words too rare to matter.

    Args:
        logits: [b, v] before truncation.
        inside: [b, v] True on words that are left.
        top_p: mass that the nucleus reaches.
        margin: of probability.
    """
    mass = logits.softmax(dim=-1)
    last = logits.masked_fill(~inside, torch.inf).min(dim=-1)
    outside = logits.masked_fill(inside, -torch.inf).max(dim=-1)
    last_mass, total = _of(last.indices, mass), (mass * inside).sum(dim=-1)
    clear = last.values - outside.values >= _LOGITS * margin
    clear &= ((total - top_p).abs() >= margin) & ((total - last_mass - top_p).abs() >= margin)
    return clear | (torch.maximum(last_mass, _of(outside.indices, mass)) < margin)


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
