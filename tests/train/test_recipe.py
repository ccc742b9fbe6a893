import statistics

import pytest

from ovrl.records import Question, Sample, Score
from ovrl.train.recipe import Recipe
from ovrl.train.recipes.dr_grpo import DrGrpo
from ovrl.train.settings import ObjectiveSettings
from ovrl.train.trajectory import Group, Trajectory, decode, encode


def group(*rewards: float | None, gid: int = 0) -> Group:
    return Group(
        gid=gid,
        sample=Sample(id="s", question=Question(problem="?", answer=("1",))),
        trajectories=tuple(
            Trajectory(
                k=k,
                text="x",
                token_ids=(5, 6, 7)[: k + 1],
                logprobs=(-0.5, -0.25, -1.0)[: k + 1],
                versions=(0, 0, 0)[: k + 1],
                finish_reason="stop",
                score=Score(reward=reward, status="ok" if reward is not None else "timeout"),
            )
            for k, reward in enumerate(rewards)
        ),
    )


@pytest.mark.parametrize(
    ("rewards", "reason"),
    [
        ((0.0, 1.0, 0.0), None),
        ((1.0, 1.0, 1.0), "zero_variance"),
        ((0.0, 0.0, 0.0), "zero_variance"),
        ((0.0, None, 1.0), "unscored"),  # a grader's failure is never a number
        ((None, None, None), "unscored"),
    ],
)
def test_groups_that_cannot_teach_are_rejected_with_a_reason(rewards, reason):
    assert Recipe(ObjectiveSettings()).reject(group(*rewards)) == reason


def test_grpo_credit_is_the_standard_score_on_every_token():
    (advantages,) = Recipe(ObjectiveSettings()).credit([group(0.0, 1.0, 0.5)])
    spread = statistics.stdev([0.0, 1.0, 0.5])  # 0.5
    assert [len(tokens) for tokens in advantages] == [1, 2, 3]
    assert [tokens[0] for tokens in advantages] == pytest.approx([-0.5 / spread, 0.5 / spread, 0.0], abs=1e-4)
    assert all(len(set(tokens)) == 1 for tokens in advantages)


def test_scaling_and_shifting_rewards_changes_nothing():
    recipe = Recipe(ObjectiveSettings())
    plain = recipe.normalize(group(0.0, 1.0, 0.25))
    moved = recipe.normalize(group(-5.0, 5.0, -2.5))  # 10 (r - 0.5), the original's map
    assert moved == pytest.approx(plain, abs=1e-4)


def test_dr_grpo_keeps_the_scale_of_the_rewards():
    assert DrGrpo(ObjectiveSettings()).normalize(group(0.0, 1.0, 0.5)) == pytest.approx([-0.5, 0.5, 0.0])


def test_a_group_survives_the_trip_to_its_file():
    before = group(0.0, 1.0, None, gid=7)
    lines = encode(before)
    assert decode(lines, before.sample) == before
    assert {line["group_id"] for line in lines} == {7}
    assert [line["reward"] for line in lines] == [0.0, 1.0, None]
