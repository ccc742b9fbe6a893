"""Advantages against the equations in loops, and against figures worked out by hand."""

import math
import random

import pytest

from ovrl.train import advantage
from ovrl.train.settings import AdvantageSettings

REWARDS = [0.0, 1.0, 1.0, 0.25, -0.5]


def loop_mean(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def test_grpo_divides_by_the_unbiased_deviation():
    mean = loop_mean(REWARDS)
    spread = math.sqrt(sum((r - mean) ** 2 for r in REWARDS) / (len(REWARDS) - 1))
    wanted = [(r - mean) / (spread + 1e-5) for r in REWARDS]
    assert advantage.in_group(REWARDS, baseline="mean", scale="std") == pytest.approx(wanted, rel=1e-12)


def test_dr_grpo_divides_by_nothing():
    assert advantage.in_group([0.0, 1.0, 0.5], baseline="mean", scale="none") == pytest.approx([-0.5, 0.5, 0.0])


def test_rloo_compares_each_with_the_mean_of_the_others():
    wanted = [r - loop_mean([*REWARDS[:i], *REWARDS[i + 1 :]]) for i, r in enumerate(REWARDS)]
    assert advantage.in_group(REWARDS, baseline="leave_one_out", scale="none") == pytest.approx(wanted, rel=1e-12)


def test_rewards_that_agree_have_no_advantage():
    for baseline, scale in (("mean", "std"), ("mean", "none"), ("leave_one_out", "none")):
        assert advantage.in_group([0.3] * 4, baseline=baseline, scale=scale) == pytest.approx([0.0] * 4)


@pytest.mark.parametrize(
    ("length", "want"),
    [(10, 0.0), (80, 0.0), (81, -0.05), (90, -0.5), (100, -1.0)],
)
def test_the_overlong_penalty_falls_linearly_over_the_buffer(length: int, want: float):
    assert advantage.overlong(length, longest=100, buffer=20) == pytest.approx(want)
    assert advantage.overlong(length, longest=100, buffer=0) == 0.0


@pytest.mark.parametrize(("reward", "want"), [(0.0, -5.0), (1.0, 5.0), (0.5, 0.0), (9.0, 20.0), (-9.0, -20.0)])
def test_the_originals_map_of_rewards(reward: float, want: float):
    chosen = AdvantageSettings(reward_bias=-0.5, reward_scale=10, reward_clip=20)
    assert advantage.mapped(reward, chosen) == pytest.approx(want)


def test_whitening_is_over_tokens_and_gives_a_group_without_spread_an_advantage():
    """Right answers of 5 tokens, wrong ones of 15, and a second group that is all wrong with an advantage of 0."""
    credit = [[[1.0] * 5, [-1.0] * 15], [[0.0] * 15, [0.0] * 15]]
    mean = (5 - 15) / 50  # token-weighted, and so below zero
    spread = math.sqrt((5 * (1 - mean) ** 2 + 15 * (1 + mean) ** 2 + 30 * mean**2) / 49)
    got = advantage.whitened(credit)
    assert got[0][0] == pytest.approx([(1 - mean) / (spread + 1e-5)] * 5)
    assert got[0][1] == pytest.approx([(-1 - mean) / (spread + 1e-5)] * 15)
    assert got[1][0] == pytest.approx([0.2 / (spread + 1e-5)] * 15)
    assert got[1][0][0] > 0.3  # the quirk: every token of a hopeless group is pushed up


def test_whitening_keeps_the_shape_and_skips_what_is_left_out():
    rng = random.Random(3)
    credit = [[[rng.gauss(2, 3) for _ in range(n)] for n in (3, 0, 7)], [[rng.gauss(2, 3)] * 4]]
    got = advantage.whitened(credit)
    flat = [v for group in got for tokens in group for v in tokens]
    assert [[len(tokens) for tokens in group] for group in got] == [[3, 0, 7], [4]]
    assert loop_mean(flat) == pytest.approx(0, abs=1e-9)
    assert sum(v * v for v in flat) / (len(flat) - 1) == pytest.approx(1, abs=1e-4)
    assert advantage.whitened([[[1.0]]]) == [[[1.0]]]
