"""Token-level pieces of the policy-gradient loss. Pure functions of tensors, no settings, no state.

Axes: b completions of a micro-batch, t tokens of the longest one. `mask` is True on sampled tokens; where
it is False the inputs may hold anything, even NaN, and the result is 0.
"""

import torch
from torch import Tensor


def clipped_surrogate(
    logp: Tensor, proximal: Tensor, advantage: Tensor, mask: Tensor, *, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """Return the clipped policy loss of each token, lower is better, and which tokens were clipped.

    -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) with r = exp(logp - proximal): equation 7 of
    arXiv:1707.06347, with the separate upper bound of DAPO (arXiv:2503.14476).

    Args:
        logp: [b, t] natural-log probabilities under the policy being trained; carries the gradient.
        proximal: [b, t] the same under the policy at the beginning of the step.
        advantage: [b, t] unitless.
        mask: [b, t].
        clip_low: how far the ratio may fall below 1.
        clip_high: how far the ratio may rise above 1.

    Raises:
        ValueError: a bound is negative, or `clip_low` exceeds 1.
    """
    if not (0 <= clip_low <= 1 and clip_high >= 0):
        raise ValueError(f"clip bounds out of range: low={clip_low}, high={clip_high}")
    ratio = torch.where(mask, logp - proximal, 0.0).exp()
    gain = torch.where(mask, advantage, 0.0)
    plain, clipped = ratio * gain, ratio.clamp(1 - clip_low, 1 + clip_high) * gain
    return -torch.minimum(plain, clipped), mask & (clipped < plain)


def behaviour_weight(proximal: Tensor, behaviour: Tensor, mask: Tensor, *, cap: float, mode: str) -> Tensor:
    """Return w = exp(proximal - behaviour) for each token, limited at `cap`; without gradient.

    Equation 5 of arXiv:2505.24298. Above the cap, w is 0 for mode `mask` and `cap` for mode `truncate`.

    Args:
        proximal: [b, t] natural-log probabilities at the beginning of the step.
        behaviour: [b, t] the same under the policy that sampled.
        mask: [b, t].
        cap: largest weight.
        mode: mask or truncate.
    """
    weight = torch.where(mask, proximal.detach() - behaviour, 0.0).exp()
    limited = torch.where(weight > cap, 0.0, weight) if mode == "mask" else weight.clamp(max=cap)
    return torch.where(mask, limited, 0.0)


def token_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Return the sum over sampled tokens, a scalar. Divided by the step's token count it is the token mean.

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
