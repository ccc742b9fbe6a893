import pytest

from ovrl.train.recipes.dapo import Dapo
from ovrl.train.settings import ObjectiveSettings


@pytest.mark.parametrize(
    ("rewards", "accuracies", "options", "reason"),
    [
        ((0, 1, 0, 0), None, {}, None),
        ((1, 1, 1, 1), None, {}, "zero_variance"),
        ((1.1, 1.0, 1.1, 1.0), (1, 1, 1, 1), {}, "too_easy"),  # a bonus for form cannot save it
        ((0.1, 0.0, 0.1, 0.0), (0, 0, 0, 0), {}, "too_hard"),
        ((1, 1, 1, 0), None, {"high": 0.75}, "too_easy"),
        ((1, 0, 0, 0), None, {"low": 0.25}, "too_hard"),
        ((1, 1, 0, 0), None, {"low": 0.25, "high": 0.75}, None),
    ],
)
def test_groups_train_strictly_inside_the_band(make_group, rewards, accuracies, options, reason):
    recipe = Dapo(ObjectiveSettings(options=options))
    assert recipe.reject(make_group(rewards, accuracies=accuracies)) == reason
