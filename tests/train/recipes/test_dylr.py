import math

import pytest

from ovrl.train.recipes.dylr import Dylr, penalty
from ovrl.train.settings import ObjectiveSettings


@pytest.mark.parametrize(
    ("length", "want"), [(0, -0.5), (100, -0.25), (200, 0.0), (300, -0.25), (400, -0.5), (999, -0.5)]
)
def test_a_wrong_answer_pays_for_its_distance_from_the_target(length, want):
    assert penalty(length, 200) == pytest.approx(want, abs=1e-12)


def test_the_target_is_the_mean_length_of_right_answers(make_group):
    group = make_group((1, 1, 0, 0), lengths=(100, 300, 100, 200))
    assert Dylr().rewards(group) == pytest.approx([1.0, 1.0, -0.25, 0.0])


def test_where_nobody_is_right_short_and_endless_answers_pay(make_group):
    recipe = Dylr(ObjectiveSettings(options={"target": 100, "limit": 400}))
    group = make_group((0, 0, 0, 0, 0), lengths=(25, 50, 100, 400, 401))
    quarter = -0.25 * (1 + math.cos(math.pi / 4))
    assert recipe.rewards(group) == pytest.approx([quarter, -0.25, 0.0, 0.0, -0.5])
    assert recipe.reject(group) is None  # the lengths teach, though all are wrong
