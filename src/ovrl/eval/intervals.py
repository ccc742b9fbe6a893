"""95% intervals: for a mean over samples, for a paired gain, for a share of successes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
_Z = 1.959963984540054  # 97.5% quantile of the normal distribution
_DRAWS_AT_ONCE = 2_000_000  # bounds the memory of one block of resamples to 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the ends of its 95% interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean and its percentile bootstrap interval, drawing samples with replacement.

    Efron 1979; 2,000 resamples. The completions of one sample are no independent draws, so give one value
    a sample: its mean over them. When all values are equal the interval has no width; for 0/1 values near
    an end, `wilson` says more.

    Args:
        values: one for each sample.
        seed: the same seed and values give the same interval.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    block = max(1, _DRAWS_AT_ONCE // len(array))
    means: list[float] = []
    while len(means) < RESAMPLES:
        size = (min(block, RESAMPLES - len(means)), len(array))
        means += array[generator.integers(0, len(array), size)].mean(axis=1).tolist()
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(array.mean()), float(low), float(high))


def paired_gain(before: Mapping[str, float], after: Mapping[str, float], seed: int = 0) -> Interval:
    """Return the mean of after - before over the samples in both, with its bootstrap interval.

    Pairing takes the difficulty of the samples out: the interval is that of the differences, and narrower
    than what the two accuracies' own intervals suggest.

    Raises:
        ValueError: the two have no sample in common.
    """
    shared = sorted(before.keys() & after.keys())  # the order decides what a seed draws
    if not shared:
        raise ValueError("no sample is in both evaluations")
    return bootstrap_mean([after[name] - before[name] for name in shared], seed)


def wilson(successes: int, trials: int) -> Interval:
    """Return the share of successes and its score interval (Wilson 1927), sound also at 0 and 1.

    `(p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)`.

    Raises:
        ValueError: unless 0 <= successes <= trials and trials > 0.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials cannot be")
    p = successes / trials
    scale = 1.0 + _Z**2 / trials
    center = (p + _Z**2 / (2 * trials)) / scale
    half = _Z * math.sqrt(p * (1.0 - p) / trials + _Z**2 / (4 * trials**2)) / scale
    # rounding may push the ends past 0 and 1, or past the share itself
    return Interval(p, min(p, max(0.0, center - half)), max(p, min(1.0, center + half)))
