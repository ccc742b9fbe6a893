from ovrl.records import Question, Sample
from ovrl.train.plan import Draw
from ovrl.train.recipes.noisy_rollout import NoisyRollout
from ovrl.train.settings import ObjectiveSettings
from ovrl.train.views import Noisy


def test_half_of_a_group_sees_noise_and_text_has_none(make_group):
    recipe = NoisyRollout(ObjectiveSettings(options={"noise": 0.25}))
    sample = make_group((0, 1)).sample
    assert recipe.plan(sample, 12) == (Draw(6), Draw(6, Noisy(0.25)))
    assert recipe.plan(sample, 5) == (Draw(3), Draw(2, Noisy(0.25)))
    assert recipe.plan(Sample(id="t", question=Question()), 12) == (Draw(12),)
