"""Estimates from n completions of which c are right: pass@k, its standard error, how much of it is guessing."""

import functools
import math
from collections.abc import Iterable


@functools.lru_cache(maxsize=65536)
def pass_at_k(n: int, correct: float, k: int) -> float:
    """Return the unbiased estimate of the chance that at least one of k completions is right.

    `1 - C(n - c, k) / C(n, k)`, equation 1 of Chen et al. 2021 (arXiv:2107.03374), as the product
    `1 - prod_{i<k} (n - c - i) / (n - i)`, in which every factor is in [0, 1], so that nothing overflows.
    The product also accepts a fractional c, which is what a correction for chance leaves.

    Args:
        n: completions that were judged.
        correct: c, how many of them are right.
        k: completions that one may try.

    Raises:
        ValueError: unless 1 <= k <= n and 0 <= c <= n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must be in 1..n; got k={k}, n={n}")
    if not 0 <= correct <= n:
        raise ValueError(f"the count of right completions must be in 0..n; got {correct}, n={n}")
    all_wrong = 1.0
    for i in range(k):
        all_wrong *= max(0.0, n - correct - i) / (n - i)
    return 1.0 - all_wrong


def pass_at_k_deviation(n: int, p: float, k: int) -> float:
    """Return the standard deviation of the pass@k estimate when each completion is right with chance p.

    Exact, by summing over the binomial count: `sqrt(sum_c Bin(c; n, p) (pass@k(n, c) - (1 - (1 - p)^k))^2)`.
    """
    truth = 1.0 - (1.0 - p) ** k
    variance = sum(
        math.comb(n, c) * p**c * (1.0 - p) ** (n - c) * (pass_at_k(n, c, k) - truth) ** 2 for c in range(n + 1)
    )
    return math.sqrt(variance)


@functools.lru_cache(maxsize=65536)
def pass_at_k_error(n: int, correct: int, k: int) -> float:
    """Return the standard error of `pass_at_k(n, correct, k)`.

    The exact deviation above at p = (c + 1/2) / (n + 1), the mean of the posterior under the Jeffreys prior
    Beta(1/2, 1/2). The plain c / n would claim certainty at c = 0 and c = n; the delta method would do so
    too, and is poor at the small n that curation has.

    Raises:
        ValueError: as for `pass_at_k`.
    """
    pass_at_k(n, correct, k)  # checks the arguments
    return pass_at_k_deviation(n, (correct + 0.5) / (n + 1), k)


def gap_peak(k: int) -> float:
    """Return the success rate at which pass@k - pass@1 is largest: `1 - k^(-1/(k-1))`, and 1/2 for k = 1.

    Where the derivative of `1 - (1 - p)^k - p` is 0. A larger k prefers harder prompts.
    """
    return 1.0 - k ** (-1.0 / (k - 1)) if k > 1 else 0.5


def correct_for_chance(p: float, chance_level: float) -> float:
    """Return the share that is not guessing: `(p - chance) / (1 - chance)`, and 0 below chance.

    The model behind it: a completion is right because the answer is known, or else by a guess, so that
    `p = s + (1 - s) chance`; this is s.
    """
    if chance_level >= 1.0:
        return 0.0
    return max(0.0, (p - chance_level) / (1.0 - chance_level))


@functools.lru_cache(maxsize=65536)
def chance_p_value(n: int, correct: int, chance_level: float) -> float:
    """Return how often mere guessing gets at least `correct` of n right: the upper tail of Bin(n, chance).

    At most 1 - confidence exactly when the one-sided lower bound of Clopper and Pearson 1934 (Biometrika 26)
    for the success rate is not below chance. 1 when there is nothing to judge.
    """
    if chance_level <= 0.0:
        return 0.0 if correct > 0 else 1.0
    return math.fsum(math.comb(n, c) * chance_level**c * (1.0 - chance_level) ** (n - c) for c in range(correct, n + 1))


def letter_p_value(counts: Iterable[tuple[int, int]]) -> float | None:
    """Return how likely accuracies that differ so much between gold letters are when the letter is irrelevant.

    Pearson's chi-squared test of the 2 x L table of right and wrong; an approximation at the few completions
    that a sample has, and meant as a flag. None unless two letters were gold at least once each.

    Args:
        counts: for each letter, (right, completions).
    """
    table = [(right, total) for right, total in counts if total]
    n, correct = sum(total for _, total in table), sum(right for right, _ in table)
    if len(table) < 2:
        return None
    if correct in (0, n):
        return 1.0
    share = correct / n
    statistic = math.fsum((right - total * share) ** 2 / (total * share * (1.0 - share)) for right, total in table)
    return _chi_squared_tail(statistic, len(table) - 1)


def _chi_squared_tail(x: float, freedom: int) -> float:
    """Return P(chi-squared > x): the closed sums 26.4.4 and 26.4.5 of Abramowitz and Stegun."""
    half = x / 2.0
    if freedom % 2 == 0:
        term, total = 1.0, 1.0
        for i in range(1, freedom // 2):
            term *= half / i
            total += term
        return math.exp(-half) * total
    total = math.erfc(math.sqrt(half))
    term = math.sqrt(half) * math.exp(-half) * 2.0 / math.sqrt(math.pi)
    for i in range(1, (freedom + 1) // 2):
        total += term
        term *= half / (i + 0.5)
    return min(1.0, total)
