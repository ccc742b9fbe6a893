import math

import pytest

from ovrl.train.recipe import Recipe
from ovrl.train.recipes.difficulty import Observe, Odsw, soft_weight
from ovrl.train.settings import ObjectiveSettings


@pytest.mark.parametrize(
    ("stage", "p", "want"),
    [
        ("medium", 0.25, 0.7071),
        ("medium", 0.5, 1.0),
        ("medium", 1.0, 0.0),
        ("easy", 0.0, 0.0),
        ("easy", 0.25, 0.7071),
        ("easy", 0.75, 1.0),
        ("hard", 0.0, 0.25),
        ("hard", 0.25, 1.0),
        ("hard", 0.75, 0.7071),
    ],
)
def test_the_soft_weight_of_each_stage(stage, p, want):
    assert soft_weight(p, stage) == pytest.approx(want, abs=1e-4)


def test_odsw_scales_what_the_group_norm_gives(make_group):
    group = make_group((0, 0, 0, 1))
    plain = Recipe().normalize(group)
    assert Odsw().normalize(group) == pytest.approx([math.sin(math.pi / 4) * a for a in plain])
    easy = Odsw(ObjectiveSettings(options={"stage": "hard"}))
    assert easy.normalize(group) == plain


@pytest.mark.parametrize(("rewards", "want"), [((0, 0, 0, 1), 1.35), ((0, 0, 1, 1), 1.8)])
def test_observe_weighs_by_the_odds(make_group, rewards, want):
    group = make_group(rewards)
    assert Observe().normalize(group) == pytest.approx([want * a for a in Recipe().normalize(group)])


@pytest.mark.parametrize(
    ("lengths", "want"),
    [
        ((50, 300, 200, 400), [0.0, 1.0, 1.2, 1.0]),  # wrong answers get no bonus, however short
        ((50, 300, 100, 400), [0.0, 1.0, 1.0, 1.0]),  # and none goes to what is short anyway
    ],
)
def test_observe_pays_the_shortest_right_answer(make_group, lengths, want):
    assert Observe().rewards(make_group((0, 1, 1, 1), lengths=lengths)) == pytest.approx(want)
