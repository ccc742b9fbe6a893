from typing import Any

import pytest

from ovrl.train.watch import Watch

SOUND: dict[str, Any] = {
    "step": 0,
    "reward_std": 0.3,
    "groups_sampled": 40,
    "groups_used": 32,
    "groups_rejected": {"zero_variance": 8},
    "truncated_rate": 0.02,
    "entropy": 1.0,
    "completion_tokens": 100.0,
    "behaviour_kl": 0.001,
    "reward_by_type": {"stem": 0.5, "ocr": 0.5},
}


def told(*changes: dict[str, Any], before: int = 15, after: int = 15) -> list[str]:
    """Return the warnings of a run that is sound for a while, and then has the changes."""
    watch = Watch()
    assert [text for _ in range(before) for text in watch.look(SOUND)] == []
    return [text for change in changes for _ in range(after) for text in watch.look(SOUND | change)]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"reward_std": 0.0}, "nothing to learn from"),
        ({"groups_used": 2}, "are rejected"),
        ({"truncated_rate": 0.5}, "max_new_tokens"),
        ({"entropy": 0.05}, "stops exploring"),
        ({"completion_tokens": 900.0}, "have grown from 100 to"),
        ({"behaviour_kl": 0.2}, "drift apart"),
        ({"reward_by_type": {"stem": 0.5, "ocr": 0.2}}, "ocr has fallen from 0.50"),
    ],
)
def test_each_trouble_is_told_once_with_what_to_do(change: dict[str, Any], word: str):
    (text,) = told(change)
    assert word in text


def test_a_trouble_that_went_away_and_came_back_is_told_again():
    assert len(told({"truncated_rate": 0.5}, {}, {"truncated_rate": 0.5})) == 2


def test_nothing_is_said_of_a_run_that_has_hardly_begun_or_lacks_figures():
    watch = Watch()
    assert [text for _ in range(4) for text in watch.look({"step": 0, "reward_std": 0.0})] == []
    assert Watch().look({"step": 0}) == []
