import statistics

import pytest

from ovrl.errors import UsageError
from ovrl.plugins import file_digests
from ovrl.records import Question, Sample, Score
from ovrl.train import batch, recipe
from ovrl.train.order import PromptOrder
from ovrl.train.plan import Draw
from ovrl.train.recipe import Recipe
from ovrl.train.recipes.dr_grpo import DrGrpo
from ovrl.train.settings import ObjectiveSettings, TrainSettings
from ovrl.train.trajectory import Group, Trajectory, decode, encode


def group(*rewards: float | None, gid: int = 0, finish: str = "stop") -> Group:
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
                finish_reason="length" if k == 1 or finish == "length" else "stop",
                score=Score(reward=reward, status="ok" if reward is not None else "timeout"),
            )
            for k, reward in enumerate(rewards)
        ),
    )


def with_advantage(**values: object) -> Recipe:
    return Recipe(ObjectiveSettings(advantage=values), longest=4)


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
    assert Recipe().reject(group(*rewards)) == reason


def test_groups_without_spread_may_be_kept_as_the_original_does():
    keep = with_advantage(zero_variance="keep")
    assert keep.reject(group(1.0, 1.0, 1.0)) is None
    assert keep.reject(group(1.0, None, 1.0)) == "unscored"
    assert keep.normalize(group(1.0, 1.0, 1.0)) == [0.0, 0.0, 0.0]


def test_grpo_credit_is_the_standard_score_on_every_token():
    (advantages,) = Recipe().credit([group(0.0, 1.0, 0.5)])
    spread = statistics.stdev([0.0, 1.0, 0.5])  # 0.5
    assert [len(tokens) for tokens in advantages] == [1, 2, 3]
    assert [tokens[0] for tokens in advantages] == pytest.approx([-0.5 / spread, 0.5 / spread, 0.0], abs=1e-4)
    assert all(len(set(tokens)) == 1 for tokens in advantages)


def test_scaling_and_shifting_rewards_changes_nothing_under_the_group_norm():
    plain = Recipe().normalize(group(0.0, 1.0, 0.25))
    moved = with_advantage(reward_bias=-0.5, reward_scale=10, reward_clip=20)  # the original's map
    assert moved.rewards(group(0.0, 1.0, 0.25)) == [-5.0, 5.0, -2.5]
    assert moved.normalize(group(0.0, 1.0, 0.25)) == pytest.approx(plain, abs=1e-4)


def test_long_completions_pay_before_the_mean_is_taken():
    soft = with_advantage(overlong_buffer=2)  # of 4 tokens: free up to 2
    assert soft.rewards(group(1.0, 1.0, 1.0)) == [1.0, 1.0, 0.5]
    assert soft.reject(group(1.0, 1.0, 1.0)) is None


def test_truncated_completions_may_be_left_out_and_still_count_in_the_mean():
    leave = with_advantage(truncated="leave_out")
    groups = [group(0.0, 1.0, 0.5)]  # the second one is truncated
    credit = leave.credit(groups)
    plain = Recipe().credit(groups)
    assert credit == [[plain[0][0], [], plain[0][2]]]
    items = batch.items(groups, [None], credit)  # type: ignore[list-item]  # no prompt is looked at
    assert [item.trajectory.k for item in items] == [0, 2]
    assert leave.reject(group(0.0, 1.0, finish="length")) == "truncated"


def test_whitening_sees_the_whole_step():
    plain = Recipe().credit(groups := [group(0.0, 1.0, 0.5), group(1.0, 0.0, 0.0, gid=1)])
    white = with_advantage(whiten=True).credit(groups)
    flat = [v for g in white for tokens in g for v in tokens]
    assert statistics.fmean(flat) == pytest.approx(0, abs=1e-9)
    assert statistics.stdev(flat) == pytest.approx(1, abs=1e-4)
    assert [[len(t) for t in g] for g in white] == [[len(t) for t in g] for g in plain]


def test_dr_grpo_keeps_the_scale_of_the_rewards_and_divides_by_a_constant():
    dr = DrGrpo()
    assert dr.normalize(group(0.0, 1.0, 0.5)) == pytest.approx([-0.5, 0.5, 0.0])
    assert dr.objective.aggregation == "constant"


def test_what_is_set_wins_over_what_a_method_prefers():
    chosen = ObjectiveSettings.model_validate({"aggregation": "tokens", "advantage": {"zero_variance": "keep"}})
    dr = DrGrpo(chosen)
    assert (dr.objective.aggregation, dr.objective.advantage.scale) == ("tokens", "none")
    assert dr.objective.advantage.zero_variance == "keep"
    rloo = ObjectiveSettings.model_validate({"advantage": {"baseline": "leave_one_out", "scale": "none"}})
    assert DrGrpo(rloo).objective.advantage.baseline == "leave_one_out"


def test_the_defaults_ask_for_one_plain_group_in_plain_order():
    plain = Recipe()
    sample = group(0.0).sample
    assert plain.plan(sample, 16) == (Draw(16),)
    sampler = plain.sampler([sample] * 5, seed=3, groups=2)
    assert [sampler.row(i) for i in range(9)] == [PromptOrder(5, 3).row(i) for i in range(9)]
    sampler.observe(0, [1.0, None], 0)
    assert sampler.state_dict() == {}
    assert plain.views == ()
    assert plain.state_dict() == {}


def made(name: str, **objective: object) -> Recipe:
    settings = TrainSettings(recipe=name, objective=ObjectiveSettings.model_validate(objective))
    return recipe.make(settings, seed=7)


def test_a_recipe_is_made_from_the_settings_of_a_run():
    got = made("papo", options={"gamma": 0.5})
    assert (got.longest, got.seed) == (4096, 7)
    assert (got.options.gamma, got.options.mask) == (0.5, 0.6)


def test_recipes_run_together():
    both = made("vade+papo+gspo", options={"gamma": 0.02, "decay_hit": 0.1})
    assert both.objective.level == "sequence"
    assert [view.name for view in both.views] == ["masked"]
    assert (both.options.gamma, both.options.decay_hit, both.options.decay_pool) == (0.02, 0.1, 0.98)
    assert type(both.sampler([group(0.0).sample], seed=1, groups=1)).__name__ == "ThompsonSampler"


OWN = "from ovrl.train.recipe import Recipe\n\n\nclass Mine(Recipe):\n    weighs_difficulty = True\n"


def test_an_edited_file_is_noticed_among_others_and_a_plus_may_stand_in_its_path(tmp_path):
    path = tmp_path / "c++" / "own.py"
    path.parent.mkdir()
    path.write_text(OWN)
    assert type(made(f"{path}:Mine")).__name__ == "Mine"
    assert list(file_digests({"recipe": f"{path}:Mine"})) == [str(path)]
    plain = tmp_path / "own.py"
    plain.write_text(OWN)
    assert isinstance(made(f"papo + {plain}:Mine"), Recipe)
    before = file_digests({"train": {"recipe": f"papo + {plain}:Mine"}})
    plain.write_text(OWN.replace("True", "False"))
    after = file_digests({"train": {"recipe": f"papo + {plain}:Mine"}})
    assert list(before) == list(after) == [str(plain)]
    assert before != after


def test_two_recipes_that_weigh_by_difficulty_are_warned_of(caplog):
    made("papo+vade")
    assert caplog.messages == []
    made("vade+odsw")
    (message,) = caplog.messages
    assert message.startswith("Vade and Odsw all weigh prompts by their difficulty")


def test_a_schedule_reaches_a_recipe():
    papo = made("papo")
    papo.use(ObjectiveSettings.model_validate({"clip_high": 0.5, "options": {"gamma": 0.3}}), longest=9)
    assert (papo.objective.clip_high, papo.options.gamma, papo.longest) == (0.5, 0.3, 9)


@pytest.mark.parametrize(
    ("name", "objective", "complaint"),
    [
        ("grop", {}, "unknown recipe 'grop'. Did you mean 'grpo'?"),
        ("vade+grop", {}, "Did you mean 'grpo'?"),
        ("ovrl.train.order:PromptOrder", {}, "is no class that extends ovrl.train.recipe.Recipe"),
        ("papo", {"options": {"gama": 1}}, "Did you mean 'gamma'? Options: known: gamma, mask"),
        (
            "papo",
            {"options": {"gamma": -1}},
            "train.objective.options.gamma: Input should be greater than or equal to 0",
        ),
        ("grpo", {"options": {"gamma": 1}}, "Recipe has no such option. Options: it has none"),
        ("gspo", {"surrogate": "plain"}, "clip_low=0.0003 has no effect with surrogate=plain"),
        ("gspo+dr_grpo", {}, "wants objective.aggregation to be sequences and constant"),
        ("dylr", {"advantage": {"truncated": "leave_out"}}, "set objective.advantage.truncated=train"),
        ("vade+{own}", {}, "Mine and Vade both answer `sampler`; take one"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_in_one_line(name, objective, complaint, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "from ovrl.train.recipe import Recipe\n\n\nclass Mine(Recipe):\n"
        "    def sampler(self, samples, *, seed, groups):\n        return None\n"
    )
    with pytest.raises(UsageError) as error:
        made(name.format(own=f"{own}:Mine"), **objective)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_group_survives_the_trip_to_its_file():
    before = group(0.0, 1.0, None, gid=7)
    lines = encode(before)
    assert decode(lines, before.sample) == before
    assert {line["group_id"] for line in lines} == {7}
    assert [line["reward"] for line in lines] == [0.0, 1.0, None]
