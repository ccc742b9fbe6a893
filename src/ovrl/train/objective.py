"""The policy-gradient loss of each token: one formula, - weight x surrogate(ratio, advantage), with free choices.

    ratio       of a token, of its completion, or of both      (level; to which policy: anchor)
    surrogate   clipped on one side, dual clip, CISPO, plain
    weight      for tokens that another policy sampled         (correction)

Pure functions of tensors, no state; how the tokens are put together is in `aggregation`.

Axes: b completions of a micro-batch, t tokens of the longest one. `mask` is True on sampled tokens; where
it is False the inputs may hold anything, even NaN, and the result is 0.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ovrl.train.settings import CorrectionSettings, ObjectiveSettings

RATIO_LIMIT = 1e3
"""Ratios are cut to [1 / limit, limit] before anything else: the pre-clip of StableReinforce (arXiv:2505.02835)."""

_KL_LIMIT = 20.0
"""Largest difference of log-probabilities inside a divergence, so that its exponential stays finite."""


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """What the policy loss of a micro-batch is made of, [b, t] each."""

    surrogate: Tensor
    """Lower is better; carries the gradient."""
    clipped: Tensor
    """True where the bounds decided."""
    weight: Tensor
    """Correction for tokens that another policy sampled; no gradient."""


def policy_loss(
    logp: Tensor, proximal: Tensor, behaviour: Tensor, advantage: Tensor, mask: Tensor, chosen: ObjectiveSettings
) -> PolicyLoss:
    """Return the loss of each token as the settings choose it.

    Args:
        logp: [b, t] natural-log probabilities under the policy being trained; carries the gradient.
        proximal: [b, t] the same under the policy that ratios divide by (the anchor).
        behaviour: [b, t] the same under the policy that sampled.
        advantage: [b, t] unitless.
        mask: [b, t].
        chosen: the settings.
    """
    ratio = log_ratio(logp, proximal, mask, level=chosen.level).exp()
    gain = torch.where(mask, advantage, 0.0)
    if chosen.level == "sequence":
        gain = sequence_mean(gain, mask)
    weight = correction(proximal, behaviour, mask, chosen.correction)
    if chosen.surrogate == "plain":
        loss, clipped = plain_surrogate(ratio, gain), torch.zeros_like(mask)
    elif chosen.surrogate == "cispo":
        loss, clipped = cispo_surrogate(logp, ratio, gain, mask, low=chosen.clip_low, high=chosen.clip_high)
    else:
        loss, clipped = clipped_surrogate(ratio, gain, low=chosen.clip_low, high=chosen.clip_high)
        if chosen.dual_clip is not None:
            loss, dual = dual_clipped(loss, gain, limit=chosen.dual_clip)
            clipped = clipped | dual
    return PolicyLoss(torch.where(mask, loss, 0.0), clipped & mask, weight)


def sequence_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return [b, t], the mean over the sampled tokens of each completion, on each of them."""
    total = torch.where(mask, values, 0.0).sum(dim=1, keepdim=True)
    return torch.where(mask, total / mask.sum(dim=1, keepdim=True).clamp(min=1), 0.0)


def log_ratio(logp: Tensor, proximal: Tensor, mask: Tensor, *, level: str) -> Tensor:
    """Return the logarithm of the importance ratio of each token, [b, t], cut at `RATIO_LIMIT`.

    token: log pi(y_t) - log pi_prox(y_t) (equation 6 of arXiv:1707.06347).
    sequence: its mean over the completion, the same for each token (equation 7 of GSPO, arXiv:2507.18071).
    sequence_token: that value, with the gradient of the token alone (equation 14 of arXiv:2507.18071).

    Args:
        logp: [b, t], carries the gradient.
        proximal: [b, t].
        mask: [b, t].
        level: token, sequence or sequence_token.
    """
    each = torch.where(mask, logp - proximal, 0.0)
    if level == "sequence":
        each = sequence_mean(each, mask)
    elif level == "sequence_token":
        each = sequence_mean(each, mask).detach() + each - each.detach()
    return each.clamp(-math.log(RATIO_LIMIT), math.log(RATIO_LIMIT))


def plain_surrogate(ratio: Tensor, gain: Tensor) -> Tensor:
    """Return -r A, [b, t]: the importance-weighted policy gradient, equation 6 of arXiv:1707.06347."""
    return -ratio * gain


def clipped_surrogate(ratio: Tensor, gain: Tensor, *, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return the clipped policy loss of each token and which tokens were clipped, [b, t] each.

    -min(r A, clip(r, 1 - low, 1 + high) A): equation 7 of arXiv:1707.06347, with the separate upper bound of
    DAPO (equation 10 of arXiv:2503.14476).
    """
    plain, clipped = ratio * gain, ratio.clamp(1 - low, 1 + high) * gain
    return -torch.minimum(plain, clipped), clipped < plain


def dual_clipped(loss: Tensor, gain: Tensor, *, limit: float) -> tuple[Tensor, Tensor]:
    """Return the loss with a second bound for A < 0, and where it acts, [b, t] each.

    max(min(r A, clip(r) A), c A) for A < 0: the dual clip of arXiv:1912.09729; a bad token that grew without
    bound (by another policy's sample) has a loss of -c A at most.
    """
    bound = -limit * gain
    acts = (gain < 0) & (loss > bound)
    return torch.where(acts, bound, loss), acts


def cispo_surrogate(
    logp: Tensor, ratio: Tensor, gain: Tensor, mask: Tensor, *, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Return -sg(clip(r, 1 - low, 1 + high)) A log pi, and which ratios were cut, [b, t] each.

    Equation 4 of MiniMax-M1 (arXiv:2506.13585): the ratio is a weight without gradient, so that a clipped token
    still learns.
    """
    kept = ratio.detach().clamp(1 - low, 1 + high)
    return -kept * gain * torch.where(mask, logp, 0.0), kept != ratio.detach()


def correction(proximal: Tensor, behaviour: Tensor, mask: Tensor, chosen: CorrectionSettings) -> Tensor:
    """Return the weight of each token for having been sampled by another policy, [b, t]; without gradient.

    w = exp(proximal - behaviour): equation 5 of arXiv:2505.24298. A token mask leaves w as it is between the
    bounds and 0 outside of them; the original's code has no lower one. `truncate` is min(w, high), the original's
    text and truncated importance sampling (arXiv:1802.01561). A sequence mask does so with the geometric mean of w
    over the completion and is a factor of 0 or 1; a sequence weight is that mean, cut at the bound and its inverse.
    """
    difference = torch.where(mask, proximal.detach() - behaviour, 0.0)
    weight = torch.ones_like(difference)
    if chosen.token != "none":
        weight = difference.exp()
    if chosen.token == "mask":
        weight = torch.where((weight < chosen.low) | (weight > chosen.high), 0.0, weight)
    elif chosen.token == "truncate":
        weight = weight.clamp(max=chosen.high)
    mean, bound = sequence_mean(difference, mask).exp(), chosen.sequence_bound
    if chosen.sequence == "mask":
        weight = torch.where((mean < 1 / bound) | (mean > bound), 0.0, weight)
    elif chosen.sequence == "weight":
        weight = mean.clamp(1 / bound, bound)
    return torch.where(mask, weight, 0.0)


def divergence(logp: Tensor, other: Tensor, mask: Tensor, *, estimator: str) -> Tensor:
    """Return an estimate of KL(pi || other) at each token that pi sampled, [b, t].

    With d = logp - other, after http://joschu.net/blog/kl-approx.html: k1 = d; k2 = d^2 / 2;
    k3 = exp(-d) - 1 + d, never negative and unbiased. The gradient of k1 would be that of logp, whose mean is zero
    whatever the reference; it is given that of k2, d grad(logp), which is the divergence's own (arXiv:2506.09477).

    Args:
        logp: [b, t].
        other: [b, t]; carries a gradient or not.
        mask: [b, t].
        estimator: k1, k2 or k3.
    """
    d = torch.where(mask, logp - other, 0.0).clamp(-_KL_LIMIT, _KL_LIMIT)
    if estimator == "k3":
        return torch.expm1(-d) + d
    half = d.square() / 2
    return half if estimator == "k2" else d.detach() + half - half.detach()


def token_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Return the sum over sampled tokens, a scalar.

    Every loss goes through here, so that micro-batches, ranks and packing cannot change the gradient.
    """
    return torch.where(mask, values, 0.0).sum()


def log_probabilities(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each id, [b, t], and the entropy in nats of each distribution, [b, t].

    Args:
        logits: [b, t, v] float32; words that may not be drawn at minus infinity.
        ids: [b, t].
    """
    table = logits.log_softmax(dim=-1)
    chosen = table.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        entropy = -(table.exp() * table.clamp(min=torch.finfo(table.dtype).min)).sum(dim=-1)
    return chosen, entropy
