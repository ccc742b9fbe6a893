"""From rewards to advantages: plain functions of numbers, in double precision."""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from ovrl.train.settings import AdvantageSettings

EPSILON = 1e-5
"""Keeps a group whose rewards nearly agree from being blown up; the recipe's value."""


def mapped(reward: float, chosen: AdvantageSettings) -> float:
    """Return clip((reward + bias) x scale, -limit, limit); with the usual group norm it is all but a no-op."""
    value = (reward + chosen.reward_bias) * chosen.reward_scale
    limit = math.inf if chosen.reward_clip is None else chosen.reward_clip
    return max(-limit, min(limit, value))


def overlong(length: int, *, longest: int, buffer: int) -> float:
    """Return what a completion's reward is changed by for its length, 0 or negative.

    Soft overlong punishment, equation 13 of DAPO (arXiv:2503.14476): 0 up to longest - buffer, then linearly down to
    -1 at `longest`.

    Args:
        length: of the completion, in tokens.
        longest: tokens that a completion may have.
        buffer: tokens of the slope; 0 punishes nothing.
    """
    if buffer == 0:
        return 0.0
    return -min(1.0, max(0.0, (length - (longest - buffer)) / buffer))


def in_group(rewards: Sequence[float], *, baseline: str, scale: str) -> list[float]:
    """Return one advantage for each completion of a group.

    mean, std: (r - mean) / (std + 1e-5), unbiased std: GRPO, outcome supervision (section 4.1.2 of arXiv:2402.03300).
    mean, none: r - mean: Dr. GRPO (arXiv:2503.20783).
    leave_one_out: r - mean of the others: RLOO (arXiv:2402.14740).

    Args:
        rewards: of the group; at least two.
        baseline: mean or leave_one_out.
        scale: std or none.
    """
    mean = statistics.fmean(rewards)
    centred = [reward - mean for reward in rewards]
    if baseline == "leave_one_out":
        others = len(rewards) - 1
        return [value * len(rewards) / others for value in centred]
    if scale == "none":
        return centred
    spread = statistics.stdev(rewards)
    return [value / (spread + EPSILON) for value in centred]


def whitened(credit: list[list[list[float]]]) -> list[list[list[float]]]:
    """Return the advantages [group][completion][token] with mean 0 and deviation 1 over all tokens of the step.

    (A - mu) / (sd + 1e-5) with the unbiased deviation: the original's `adv_norm` at level `batch`. mu counts tokens,
    so that long wrong answers make it negative, and a group without spread gets an advantage; a quirk that is kept.
    """
    flat = np.array([value for group in credit for tokens in group for value in tokens])
    if len(flat) < 2:
        return credit
    mean, spread = flat.mean(), flat.std(ddof=1)
    return [[[float((v - mean) / (spread + EPSILON)) for v in tokens] for tokens in group] for group in credit]
