import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.curate import estimators


@st.composite
def counts(draw):
    n = draw(st.integers(1, 40))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@pytest.mark.parametrize(
    ("n", "c", "k", "want"),
    [
        (16, 3, 8, 0.9),  # 1 - C(13,8)/C(16,8)
        (4, 2, 2, 5 / 6),  # of six pairs one is all wrong
        (10, 0, 5, 0.0),
        (10, 10, 1, 1.0),
        (5, 1, 5, 1.0),
        (8, 6, 3, 1.0),  # fewer wrong ones than attempts
    ],
)
def test_pass_at_k_by_hand(n, c, k, want):
    assert estimators.pass_at_k(n, c, k) == pytest.approx(want, abs=1e-12)


@given(counts())
def test_pass_at_k_is_the_quotient_of_binomials(values):
    n, c, k = values
    want = 1 - math.comb(n - c, k) / math.comb(n, k)
    assert estimators.pass_at_k(n, c, k) == pytest.approx(want, abs=1e-9)


@given(counts())
def test_pass_at_k_grows_with_k_and_with_c(values):
    n, c, k = values
    here = estimators.pass_at_k(n, c, k)
    assert 0.0 <= here <= 1.0
    if k < n:
        assert estimators.pass_at_k(n, c, k + 1) >= here - 1e-12
    if c < n:
        assert estimators.pass_at_k(n, c + 1, k) >= here - 1e-12
        assert here <= estimators.pass_at_k(n, c + 0.5, k) + 1e-12


@given(st.integers(1, 60), st.data())
def test_pass_at_1_is_the_share_and_pass_at_n_is_0_or_1(n, data):
    c = data.draw(st.integers(0, n))
    assert estimators.pass_at_k(n, c, 1) == pytest.approx(c / n)
    assert estimators.pass_at_k(n, c, n) == (1.0 if c else 0.0)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("p", [0.0, 0.05, 0.3, 0.9, 1.0])
def test_pass_at_k_is_unbiased(n, p):
    for k in range(1, n + 1):
        mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * estimators.pass_at_k(n, c, k) for c in range(n + 1))
        assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "c", "k"), [(4, 2, 0), (4, 2, 5), (4, 2, -1), (0, 0, 1), (4, 5, 2), (4, -1, 2), (4, 4.5, 2)]
)
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match="must be in"):
        estimators.pass_at_k(n, c, k)


def test_large_counts_do_not_overflow():
    assert estimators.pass_at_k(1_000_000, 1, 1000) == pytest.approx(0.001, rel=1e-6)


@pytest.mark.parametrize(("n", "want"), [(10, 0.41), (16, 0.32), (32, 0.22)])
def test_deviation_of_pass_at_8_as_published(n, want):  # methods.md 5.5, p = 0.05
    assert estimators.pass_at_k_deviation(n, 0.05, 8) == pytest.approx(want, abs=0.005)


@pytest.mark.parametrize(("n", "c", "k"), [(16, 3, 8), (16, 0, 8), (10, 8, 2), (8, 4, 4)])
def test_standard_error_agrees_with_simulation(n, c, k):
    rng = random.Random(7)
    p = (c + 0.5) / (n + 1)
    drawn = [estimators.pass_at_k(n, sum(rng.random() < p for _ in range(n)), k) for _ in range(8000)]
    assert estimators.pass_at_k_error(n, c, k) == pytest.approx(statistics.pstdev(drawn), rel=0.06)


def test_standard_error_never_claims_certainty():
    assert estimators.pass_at_k_error(16, 0, 8) > 0.1
    assert estimators.pass_at_k_error(16, 16, 1) > 0.01
    with pytest.raises(ValueError, match="k must be"):
        estimators.pass_at_k_error(4, 2, 5)


@pytest.mark.parametrize(
    ("p", "level", "want"),
    [(1.0, 0.25, 1.0), (0.25, 0.25, 0.0), (0.1, 0.25, 0.0), (0.625, 0.25, 0.5), (1, 1, 0)],
)
def test_correction_for_chance(p, level, want):
    assert estimators.correct_for_chance(p, level) == pytest.approx(want)


@pytest.mark.parametrize(("n", "k", "p"), [(16, 8, 0.05), (32, 16, 0.25), (10, 10, 0.1), (8, 2, 0.7), (16, 1, 0.3)])
def test_pass_at_k_and_gap_are_unbiased_in_simulation(n, k, p):
    rng = random.Random(n * 1000 + k)
    drawn = [sum(rng.random() < p for _ in range(n)) for _ in range(20000)]
    for estimates, truth in (
        ([estimators.pass_at_k(n, c, k) for c in drawn], 1 - (1 - p) ** k),
        ([estimators.pass_at_k(n, c, k) - c / n for c in drawn], 1 - (1 - p) ** k - p),
    ):
        error = statistics.stdev(estimates) / math.sqrt(len(estimates))
        assert abs(statistics.fmean(estimates) - truth) <= 3 * error + 1e-12


@given(counts())
def test_the_gap_is_never_negative(values):
    n, c, k = values
    assert estimators.pass_at_k(n, c, k) - estimators.pass_at_k(n, c, 1) >= -1e-12


@given(st.integers(2, 40), st.data())
def test_the_gap_at_k_2_is_the_unbiased_variance(n, data):
    c = data.draw(st.integers(0, n))
    assert estimators.pass_at_k(n, c, 2) - c / n == pytest.approx(c * (n - c) / (n * (n - 1)), abs=1e-12)


@pytest.mark.parametrize(("k", "want"), [(2, 0.50), (4, 0.37), (8, 0.26), (10, 0.23), (16, 0.17), (32, 0.11)])
def test_the_peak_of_the_gap_as_published_and_by_search(k, want):  # methods.md 5.5
    peak = estimators.gap_peak(k)
    assert peak == pytest.approx(want, abs=0.005)
    best = max((1 - (1 - i / 5000) ** k - i / 5000, i / 5000) for i in range(5001))[1]
    assert peak == pytest.approx(best, abs=2e-4)


@given(st.integers(1, 40), st.data())
def test_the_tail_of_guessing_is_a_probability_that_falls(n, data):
    c, level = data.draw(st.integers(0, n)), data.draw(st.sampled_from([0.1, 0.25, 0.5]))
    here = estimators.chance_p_value(n, c, level)
    assert 0.0 <= here <= 1.0 + 1e-12
    if c < n:
        assert estimators.chance_p_value(n, c + 1, level) <= here + 1e-12


@pytest.mark.parametrize(
    ("n", "c", "level", "want"),
    [(4, 4, 0.5, 1 / 16), (4, 0, 0.5, 1.0), (2, 1, 0.25, 7 / 16), (5, 1, 0.0, 0.0), (5, 0, 0.0, 1.0)],
)
def test_the_tail_of_guessing_by_hand(n, c, level, want):
    assert estimators.chance_p_value(n, c, level) == pytest.approx(want)


def test_the_tail_of_guessing_in_simulation():
    rng = random.Random(3)
    drawn = [sum(rng.random() < 0.25 for _ in range(16)) for _ in range(20000)]
    share = sum(c >= 7 for c in drawn) / len(drawn)
    want = estimators.chance_p_value(16, 7, 0.25)
    assert abs(share - want) <= 3 * math.sqrt(want * (1 - want) / len(drawn))


@pytest.mark.parametrize(
    ("counts", "want"),
    [
        ([(4, 4), (0, 4), (0, 4), (0, 4)], 0.0011340),  # chi-squared 16, 3 degrees of freedom
        ([(2, 4), (2, 4)], 1.0),
        ([(3, 4), (1, 4)], 0.1572992),  # chi-squared 2, 1 degree
        ([(4, 4), (1, 4), (1, 4)], 0.0497871),  # chi-squared 6, 2 degrees: exp(-3)
        ([(0, 8), (0, 8)], 1.0),
        ([(3, 8)], None),
        ([(3, 8), (0, 0)], None),
        ([], None),
    ],
)
def test_dependence_on_the_letter_by_hand(counts, want):
    got = estimators.letter_p_value(counts)
    assert got is None if want is None else got == pytest.approx(want, abs=1e-6)


def test_a_model_that_prefers_a_letter_is_found_and_one_that_knows_is_not():
    rng = random.Random(5)

    def flagged(accuracy):
        found = 0
        for _ in range(400):
            table = {letter: [0, 0] for letter in "ABCD"}
            for letter in rng.choices("ABCD", k=32):
                table[letter][0] += rng.random() < accuracy(letter)
                table[letter][1] += 1
            found += (estimators.letter_p_value(map(tuple, table.values())) or 1.0) < 0.05
        return found / 400

    assert flagged(lambda letter: letter == "A") == 1.0
    assert flagged(lambda letter: 1.0 if letter == "A" else 0.3) > 0.75
    assert flagged(lambda letter: 0.5) < 0.1
