import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.curate import estimators
from ovrl.records import Question


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
    ("problem", "want"),
    [
        ("Which?\nA. red\nB. blue\nC. green\nD. gray", 4),
        ("Which? A. red B. blue", 2),
        ("Which? (A) red (B) blue (C) green", 3),
        ("Which?\n(A)red(B)blue", 2),
        ("<image>\nA) 1\nB) 2\nC) 3\nD) 4\nE) 5", 5),
        ("A: yes\nB: no", 2),
        ("Mr. A. Smith asks: A. one B. two C. three", 3),
        ("A. one B. two C. three, says Mr. A. Smith", 3),
        ("What did A. Smith say?", 0),
        ("Lines B. and C. meet", 0),
        ("", 0),
    ],
)
def test_options_are_counted(problem, want):
    assert estimators.count_options(problem) == want


@pytest.mark.parametrize(
    ("answer_type", "problem", "answer", "want"),
    [
        ("multiple-choice", "A. x B. y C. z", ("B",), 1 / 3),
        ("multiple-choice", "Choose a letter.", ("B",), 1 / 4),
        ("multiple-choice", "A. x B. y C. z D. w", ("B", "(d)"), 1 / 2),  # either letter counts
        ("multiple-choice", "A. x B. y C. z D. w", ("B", "(B)"), 1 / 4),
        ("multiple-choice", "A. x B. y C. z D. w", ("the red one",), 1 / 4),
        ("boolean", "Is it?", ("yes",), 0.5),
        ("number", "A. x B. y", ("3",), 0.0),
        ("bbox", "", ("[0,0,1,1]",), 0.0),
        ("any", "", ("B",), 0.0),
    ],
)
def test_chance_level(answer_type, problem, answer, want):
    question = Question(problem=problem, answer=answer, answer_type=answer_type)
    assert estimators.chance(question) == pytest.approx(want)


@pytest.mark.parametrize(
    ("p", "level", "want"),
    [(1.0, 0.25, 1.0), (0.25, 0.25, 0.0), (0.1, 0.25, 0.0), (0.625, 0.25, 0.5), (1, 1, 0)],
)
def test_correction_for_chance(p, level, want):
    assert estimators.correct_for_chance(p, level) == pytest.approx(want)
