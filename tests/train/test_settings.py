"""What goes together, and the presets against the table of the original's configuration."""

import pytest

from ovrl.errors import UsageError
from ovrl.settings import Layers, leaf
from ovrl.train.settings import TrainSettings, load_preset


def resolve(*assignments: str, preset: str = "default") -> TrainSettings:
    layers = Layers.gather((), [f"train.{text}" for text in assignments], {})
    return layers.resolve("train", TrainSettings, preset=load_preset(preset)).value


@pytest.mark.parametrize(
    ("assignments", "complaint"),
    [
        (["objective.minibatches=2"], "set anchor=recompute"),
        (["objective.anchor=rollout"], "set correction.token and sequence to none"),
        (
            ["objective.anchor=rollout", "objective.correction.token=none", "objective.correction.sequence=mask"],
            "set correction.token and sequence to none",
        ),
        (["objective.surrogate=cispo", "objective.level=sequence_token"], "set level=sequence or token"),
        (["objective.surrogate=cispo", "objective.dual_clip=3"], "dual_clip=3.0 has no effect with surrogate=cispo"),
        (["objective.surrogate=plain", "objective.clip_low=0.1"], "clip_low=0.1 has no effect with surrogate=plain"),
        (["objective.surrogate=plain", "objective.clip_high=0.1"], "clip_high=0.1 has no effect with surrogate=plain"),
        (["objective.dual_clip=1"], "greater than 1"),
        (["objective.clip_low=1.1"], "less than or equal to 1"),
        (["objective.correction.sequence=weight"], "would correct twice"),
        (["objective.correction.token=truncate", "objective.correction.low=0.1"], "low=0.1 has no effect"),
        (["objective.correction.token=none", "objective.correction.high=3"], "high=3.0 has no effect with token=none"),
        (["objective.correction.sequence_bound=3"], "sequence_bound=3.0 has no effect with sequence=none"),
        (["objective.correction.high=0.9"], "greater than or equal to 1"),
        (["objective.advantage.baseline=leave_one_out"], "set scale=none"),
        (
            ["objective.advantage.overlong_buffer=64", "objective.advantage.truncated=leave_out"],
            "needs the truncated completions",
        ),
        (["objective.advantage.overlong_buffer=4096"], "shorter than sampling.max_new_tokens"),
    ],
)
def test_choices_that_contradict_each_other_are_refused_with_the_way_out(assignments, complaint):
    with pytest.raises(UsageError, match="train") as error:
        resolve(*assignments)
    assert complaint in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    "assignments",
    [
        ["objective.minibatches=4", "objective.anchor=recompute"],
        ["objective.minibatches=4", "objective.anchor=rollout", "objective.correction.token=none"],
        ["objective.correction.token=truncate", "objective.correction.low=0"],  # 0 says what truncation does
        ["objective.correction.token=none", "objective.correction.sequence=weight"],
        ["objective.surrogate=cispo", "objective.level=sequence"],
        ["objective.advantage.baseline=leave_one_out", "objective.advantage.scale=none"],
    ],
)
def test_choices_that_go_together_are_taken(assignments):
    settings = resolve(*assignments)
    for text in assignments:
        key, _, value = text.partition("=")
        assert str(leaf(settings, key)) in (value, f"{value}.0")


OV15 = {
    "save_every": 250,
    "batch.groups": 32,
    "batch.group_size": 16,
    "batch.max_tokens": 6144,
    "batch.max_pixels": 512 * 512,
    "sampling.max_new_tokens": 4096,
    "sampling.temperature": 1.0,
    "sampling.top_p": 1.0,
    "sampling.top_k": 0,
    "score.mode": "ov15",
    "score.timeout": 15.0,
    "learner.precision": "bfloat16",
    "learner.gradient_checkpointing": False,
    "learner.freeze_vision": False,
    "optimizer.lr": 2e-6,
    "optimizer.weight_decay": 0.01,
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.999,
    "optimizer.eps": 1e-8,
    "optimizer.clip_norm": 1.0,
    "objective.clip_low": 0.2,
    "objective.clip_high": 0.28,
    "objective.level": "token",
    "objective.surrogate": "ppo",
    "objective.dual_clip": None,
    "objective.minibatches": 1,
    "objective.anchor": "recompute",
    "objective.aggregation": "tokens",
    "objective.kl.coefficient": 0.0,
    "objective.correction.token": "mask",
    "objective.correction.low": 0.0,
    "objective.correction.high": 5.0,
    "objective.correction.sequence": "none",
    "objective.advantage.reward_scale": 10.0,
    "objective.advantage.reward_bias": -0.5,
    "objective.advantage.reward_clip": 20.0,
    "objective.advantage.baseline": "mean",
    "objective.advantage.scale": "std",
    "objective.advantage.whiten": True,
    "objective.advantage.zero_variance": "keep",
    "objective.advantage.overlong_buffer": 0,
    "objective.advantage.truncated": "train",
}
"""`actor`, `gconfig`, `saver` and `rollout` of the original's two files, which agree in all of them."""


def test_ov15_has_the_originals_values():
    settings = resolve(preset="ov15")
    assert {key: leaf(settings, key) for key in OV15} == OV15
    # int(0.001 x steps) steps of warm-up, and a constant rate behind them.
    assert settings.optimizer.warmup_steps == int(0.001 * settings.steps)


def test_default_mends_what_the_original_left_broken():
    default, original = resolve(), resolve(preset="ov15")
    mended = {key: leaf(default, key) for key in OV15 if leaf(default, key) != leaf(original, key)}
    assert mended == {
        "save_every": 50,
        "batch.max_tokens": 16384,
        "score.mode": "strict",
        "score.timeout": 10.0,
        "learner.precision": "auto",
        "objective.anchor": "self",  # one mini-batch: nothing to recompute
        "objective.correction.low": 0.5,  # two-sided
        "objective.advantage.reward_scale": 1.0,
        "objective.advantage.reward_bias": 0.0,
        "objective.advantage.reward_clip": None,
        "objective.advantage.whiten": False,
        "objective.advantage.zero_variance": "reject",
    }
