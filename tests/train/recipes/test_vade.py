import json

import numpy as np
import pytest

from ovrl.records import Question, Sample
from ovrl.train.recipes.vade import ThompsonSampler, Vade, promise
from ovrl.train.settings import ObjectiveSettings


def sampler(rows: int = 40, groups: int = 4, seed: int = 1, **more: float) -> ThompsonSampler:
    return ThompsonSampler(rows, groups, seed, **{"prior": 1.0, "hit": 0.5, "pool": 0.98} | more)


def test_the_promise_peaks_at_one_third():
    grid = np.linspace(0, 1, 3001)
    assert grid[promise(grid).argmax()] == pytest.approx(1 / 3, abs=1e-3)
    assert promise(grid).max() == pytest.approx(0.148, abs=1e-3)


def test_a_draw_gives_different_rows_and_each_step_a_new_one():
    chosen = sampler()
    rows = [chosen.row(gid) for gid in range(12)]
    assert all(len(set(rows[i : i + 4])) == 4 for i in (0, 4, 8))
    assert all(0 <= row < 40 for row in rows)
    assert rows[:4] != rows[4:8]


def test_prompts_of_middling_difficulty_are_preferred_to_dead_ones():
    chosen = sampler(rows=30, groups=3)
    chances = np.array([0.0] * 10 + [1 / 3] * 10 + [1.0] * 10)
    for row, chance in enumerate(chances):
        chosen.observe(row, [1.0] * round(12 * chance) + [0.0] * round(12 * (1 - chance)), 0)
    rows = [chosen.row(gid) for gid in range(300)]
    shares = [sum(low <= row < low + 10 for row in rows) / 300 for low in (0, 10, 20)]
    assert shares[1] > 0.8
    assert shares[2] < shares[1] / 8


def test_counts_are_forgotten_by_version_and_by_hit():
    chosen = sampler(rows=2)
    chosen.observe(0, [1.0, 1.0, 1.0, 0.0], 0)
    assert [float(side[0]) for side in chosen.chances()] == pytest.approx([4.0, 2.0])
    chosen.observe(1, [0.0], 3)  # three versions later: every prompt has lost some
    left = 0.98**3
    assert [float(side[0]) for side in chosen.chances()] == pytest.approx([1 + 3 * left, 1 + left])
    chosen.observe(0, [0.25, None, 7.0], 3)  # a graded reward is a part of a success; None says nothing
    kept = 0.5 * left
    assert [float(side[0]) for side in chosen.chances()] == pytest.approx([1 + kept * 3 + 1.25, 1 + kept + 0.75])
    chosen.observe(0, [], 3)
    assert float(chosen.chances()[0][0]) == pytest.approx(1 + 0.5 * (kept * 3 + 1.25))


def test_a_restored_sampler_goes_on_as_the_first_would_have():
    first = sampler()
    for gid in range(6):
        first.observe(first.row(gid), [1.0, 0.0, 0.0], gid // 4)
    second = sampler()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [second.row(gid) for gid in range(6, 20)] == [first.row(gid) for gid in range(6, 20)]
    assert second.state_dict() == first.state_dict()


def test_there_may_be_fewer_rows_than_a_step_wants():
    chosen = sampler(rows=3, groups=8)
    assert sorted(chosen.row(gid) for gid in range(3)) == [0, 1, 2]


def test_the_recipe_hands_its_options_on():
    samples = [Sample(id=str(i), question=Question()) for i in range(5)]
    chosen = Vade(ObjectiveSettings(options={"prior": 2.0, "decay_pool": 0.5})).sampler(samples, seed=3, groups=2)
    chosen.observe(0, [1.0], 0)
    chosen.observe(1, [1.0], 1)
    assert chosen.chances()[0].tolist() == pytest.approx([2.5, 3.0, 2.0, 2.0, 2.0])
