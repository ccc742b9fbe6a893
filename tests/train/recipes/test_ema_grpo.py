import math
import random
import statistics

import pytest

from ovrl.train.recipe import Recipe
from ovrl.train.recipes.ema_grpo import EmaGrpo
from ovrl.train.settings import ObjectiveSettings


def firsts(credit):
    return [tokens[0] for group in credit for tokens in group]


def test_one_problem_type_of_constant_spread_is_scaled_by_the_spread_of_the_batch(make_group):
    groups = [make_group((0, 1, 1, 0)), make_group((1, 1, 1, 0))]
    spread = statistics.pstdev([0, 1, 1, 0, 1, 1, 1, 0])
    wanted = [(r - m) / spread for m, rewards in ((0.5, (0, 1, 1, 0)), (0.75, (1, 1, 1, 0))) for r in rewards]
    recipe = EmaGrpo()
    for _ in range(3):
        assert firsts(recipe.credit(groups)) == pytest.approx(wanted)


def test_the_moments_of_each_type_move_by_the_decay(make_group):
    rng = random.Random(5)
    recipe = EmaGrpo(ObjectiveSettings(options={"decay": 0.75}))
    m1 = m2 = None
    for _ in range(4):
        paid = [rng.random() for _ in range(6)]
        other = make_group([100 * rng.random() for _ in range(6)], kind="grounding")
        credit = recipe.credit([make_group(paid, kind="ocr"), other])
        first, second = sum(paid) / 6, sum(r * r for r in paid) / 6
        m1 = first if m1 is None else 0.75 * m1 + 0.25 * first
        m2 = second if m2 is None else 0.75 * m2 + 0.25 * second
        sigma = math.sqrt(m2 - m1 * m1)
        assert firsts(credit[:1]) == pytest.approx([(r - first) / sigma for r in paid])


def test_a_group_that_would_be_blown_up_uses_its_own_spread(make_group):
    recipe = EmaGrpo()
    recipe.credit([make_group((0.5, 0.5, 0.5, 0.5001))])
    wild = make_group((0, 0, 0, 1))
    assert firsts(recipe.credit([wild])) == pytest.approx(Recipe().normalize(wild))


def test_the_moments_survive_a_restart(make_group):
    before, after = EmaGrpo(), EmaGrpo()
    before.credit([make_group((0, 1, 1, 0))])
    after.load_state_dict(before.state_dict())
    groups = [make_group((3, 1, 1, 0))]
    assert after.credit(groups) == before.credit(groups)
