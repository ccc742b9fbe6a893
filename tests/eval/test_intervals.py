import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.eval.intervals import Interval, bootstrap_mean, paired_gain, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (5, 10, 0.2366, 0.7634),  # Newcombe 1998 gives these to four places
        (81, 263, 0.2553, 0.3662),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_as_published(successes, trials, low, high):
    got = wilson(successes, trials)
    assert got.mean == pytest.approx(successes / trials)
    assert (got.low, got.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 500), st.data())
def test_wilson_contains_the_share_and_stays_in_range(trials, data):
    got = wilson(data.draw(st.integers(0, trials)), trials)
    assert 0.0 <= got.low <= got.mean <= got.high <= 1.0
    assert got.low < got.high


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_cannot_be(successes, trials):
    with pytest.raises(ValueError, match="cannot be"):
        wilson(successes, trials)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = random.Random(5)
    inside = 0
    for trial in range(200):
        got = bootstrap_mean([float(rng.random() < 0.4) for _ in range(60)], seed=trial)
        inside += got.low <= 0.4 <= got.high
    assert 0.88 <= inside / 200 <= 0.99


def test_bootstrap_width_is_that_of_the_normal_interval():
    rng = random.Random(1)
    values = [rng.random() for _ in range(500)]
    got = bootstrap_mean(values)
    half = 1.96 * statistics.pstdev(values) / 500**0.5
    assert got.mean == pytest.approx(statistics.fmean(values))
    assert got.high - got.low == pytest.approx(2 * half, rel=0.08)
    assert got == bootstrap_mean(values)
    assert got != bootstrap_mean(values, seed=1)


def test_bootstrap_of_equal_values_and_of_none():
    assert bootstrap_mean([0.5] * 3) == Interval(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_mean([])


def test_paired_gain_uses_the_samples_in_both():
    got = paired_gain({"a": 0.0, "b": 0.5, "gone": 1.0}, {"b": 1.0, "a": 0.5, "new": 0.0})
    assert got == Interval(0.5, 0.5, 0.5)  # every shared sample gains as much


def test_paired_gain_is_narrower_than_two_intervals():
    rng = random.Random(2)
    before = {f"s{i}": rng.random() for i in range(200)}
    after = {name: value + 0.05 + rng.gauss(0, 0.02) for name, value in before.items()}
    gain = paired_gain(before, after)
    assert gain.low > 0.04
    alone = bootstrap_mean(list(after.values()))
    assert gain.high - gain.low < (alone.high - alone.low) / 5


def test_paired_gain_does_not_depend_on_the_order():
    rng = random.Random(4)
    before, after = ({f"s{i}": rng.random() for i in range(40)} for _ in range(2))
    backwards = dict(reversed(before.items()))
    assert paired_gain(before, after, seed=3) == paired_gain(backwards, after, seed=3)


def test_paired_gain_needs_a_common_sample():
    with pytest.raises(ValueError, match="both"):
        paired_gain({"a": 1.0}, {"b": 1.0})
