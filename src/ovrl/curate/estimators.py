"""Estimates from n completions of which c are right: pass@k, its standard error, the share of guessing."""

import functools
import math
import re

from ovrl.records import Question

DEFAULT_OPTIONS = 4
"""Options of a multiple-choice question whose problem text lists none that we can count."""

# "A. red", "B) red", "C: red" open an option at the start of the text or after white space, "(D)" anywhere.
_OPTION = re.compile(r"\(([A-Z])\)|(?:^|(?<=\s))([A-Z])[.):]")
_LETTER = re.compile(r"\(?([A-Z])[).]?")


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


@functools.lru_cache(maxsize=4096)
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


def chance(question: Question) -> float:
    """Return how often a guess is right: 1/options for multiple choice, 1/2 for boolean, otherwise 0.

    Small counts can be guessed too, but how often depends on the data set; they are left at 0. Several
    gold letters, any of which counts, raise the chance.
    """
    if question.answer_type == "boolean":
        return 0.5
    if question.answer_type != "multiple-choice":
        return 0.0
    options = count_options(question.problem) or DEFAULT_OPTIONS
    letters = {match[1] for text in question.answer if (match := _LETTER.fullmatch(text.strip().upper()))}
    return min(1.0, max(1, len(letters)) / options)


def count_options(problem: str) -> int:
    """Return how many options A, B, C ... the text lists in order, or 0 when not even two are.

    "A" opens a list wherever it stands; the longest list counts, so that an "A. Smith" in the question does
    no harm.
    """
    longest = current = 0
    for match in _OPTION.finditer(problem):
        index = ord(match[1] or match[2]) - ord("A")
        if index == 0:
            current = 1
        elif index == current:
            current += 1
        longest = max(longest, current)
    return longest if longest >= 2 else 0


def correct_for_chance(p: float, chance_level: float) -> float:
    """Return the share that is not guessing: `(p - chance) / (1 - chance)`, and 0 below chance.

    The model behind it: a completion is right because the answer is known, or else by a guess, so that
    `p = s + (1 - s) chance`; this is s.
    """
    if chance_level >= 1.0:
        return 0.0
    return max(0.0, (p - chance_level) / (1.0 - chance_level))
