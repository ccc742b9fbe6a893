"""Settings of `ovrl train`. Free of torch, so that the command line can read them."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ovrl.errors import UsageError
from ovrl.images import MAX_PIXELS
from ovrl.plugins import did_you_mean
from ovrl.reward.settings import ScoreSettings
from ovrl.rollout.settings import SamplingSettings
from ovrl.settings import Settings, read_preset

_PRESETS = Path(__file__).with_name("presets")


def _refuse_idle(settings: Settings, used: bool, name: str, when: str, *, neutral: Any = None) -> None:
    """Raise for a value that was chosen and would do nothing."""
    value, default = getattr(settings, name), type(settings).model_fields[name].default
    if not used and value != default and value != neutral:
        raise ValueError(f"{name}={value} has no effect {when}; leave it at {default}")


class CorrectionSettings(Settings):
    """What is done about tokens that another policy sampled; ratios are exp(proximal - behaviour)."""

    token: Literal["none", "mask", "truncate"] = "mask"
    """Ratio of each token as a weight: left out outside `low` and `high` (mask), or cut at `high` (truncate)."""
    low: float = Field(default=0.5, ge=0, lt=1)
    """Of a mask; 0 leaves it open below, as the original's code does."""
    high: float = Field(default=5.0, ge=1)
    sequence: Literal["none", "mask", "weight"] = "none"
    """Geometric mean over a completion: leave the completion out, or take the mean as its weight, cut at the bound."""
    sequence_bound: float = Field(default=2.0, gt=1)
    """The mean may be this, and its inverse."""

    @model_validator(mode="after")
    def _one_weight(self) -> "CorrectionSettings":
        if self.token != "none" and self.sequence == "weight":
            raise ValueError("sequence=weight with a token weight would correct twice; set token=none")
        _refuse_idle(self, self.token == "mask", "low", f"with token={self.token}", neutral=0.0)
        _refuse_idle(self, self.token != "none", "high", "with token=none")
        _refuse_idle(self, self.sequence != "none", "sequence_bound", "with sequence=none")
        return self


class ReferenceSettings(Settings):
    """A pull towards the policy of the start."""

    coefficient: NonNegativeFloat = 0.0
    """Of the KL divergence in the loss; 0 needs no reference policy."""
    estimator: Literal["k1", "k2", "k3"] = "k3"


class AdvantageSettings(Settings):
    """From rewards to advantages."""

    baseline: Literal["mean", "leave_one_out"] = "mean"
    """What is subtracted: the mean of the group, or that of the others (RLOO)."""
    scale: Literal["std", "none"] = "std"
    """What is divided by: the group's standard deviation, or nothing (Dr. GRPO)."""
    whiten: bool = False
    """Normalize once more over all tokens of the step, as the original does."""
    zero_variance: Literal["reject", "keep"] = "reject"
    """What becomes of a group whose rewards all agree."""
    reward_bias: float = 0.0
    """Added to each reward, before the scale."""
    reward_scale: PositiveFloat = 1.0
    reward_clip: PositiveFloat | None = None
    """Largest magnitude of a mapped reward."""
    overlong_buffer: NonNegativeInt = 0
    """Tokens before the limit over which a completion's reward falls linearly, by 1 in all; 0: not at all."""
    truncated: Literal["train", "leave_out"] = "train"
    """Whether completions that hit the limit train; they count in their group's mean all the same."""

    @model_validator(mode="after")
    def _consistent(self) -> "AdvantageSettings":
        if self.baseline == "leave_one_out" and self.scale == "std":
            raise ValueError("leave_one_out is the mean times G / (G - 1), which the std cancels; set scale=none")
        if self.overlong_buffer and self.truncated == "leave_out":
            raise ValueError("the overlong penalty needs the truncated completions; set truncated=train, or buffer 0")
        return self


class ObjectiveSettings(Settings):
    """The loss: - sum of weight x surrogate(ratio, advantage) / denominator. Each choice is free of the others."""

    anchor: Literal["self", "recompute", "rollout"] = "self"
    """What a ratio divides by: the policy itself without gradient (its value is then 1), its log-probabilities before
    the first update of the step, or those under which the tokens were sampled."""
    minibatches: PositiveInt = 1
    """Optimizer updates in a step."""
    level: Literal["token", "sequence", "sequence_token"] = "token"
    """Ratio of each token, of the completion (GSPO), or of the completion with each token's gradient (GSPO-token)."""
    surrogate: Literal["ppo", "cispo", "plain"] = "ppo"
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """How far a ratio may fall below 1."""
    clip_high: NonNegativeFloat = 0.28
    """How far a ratio may rise above 1."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Largest ratio that counts against a bad token; None: any."""
    aggregation: Literal["tokens", "sequences", "groups", "constant"] = "tokens"
    """Mean over all tokens of the step; mean of the means of completions, or of groups; or the sum over
    completions x sampling.max_new_tokens (Dr. GRPO)."""
    correction: CorrectionSettings = CorrectionSettings()
    kl: ReferenceSettings = ReferenceSettings()
    advantage: AdvantageSettings = AdvantageSettings()
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Of the recipe; what there is stands in its file."""

    @model_validator(mode="after")
    def _consistent(self) -> "ObjectiveSettings":
        if self.anchor == "self" and self.minibatches > 1:
            raise ValueError("with several minibatches a ratio to the policy itself never clips; set anchor=recompute")
        if self.anchor == "rollout" and (self.correction.token, self.correction.sequence) != ("none", "none"):
            raise ValueError("anchor=rollout corrects by its ratio already; set correction.token and sequence to none")
        if self.surrogate == "cispo" and self.level == "sequence_token":
            raise ValueError("cispo has no gradient through the ratio; set level=sequence or token")
        _refuse_idle(self, self.surrogate == "ppo", "dual_clip", f"with surrogate={self.surrogate}")
        for name in ("clip_low", "clip_high"):
            _refuse_idle(self, self.surrogate != "plain", name, "with surrogate=plain")
        return self


class OptimizerSettings(Settings):
    """AdamW with a constant rate after a short linear rise."""

    lr: NonNegativeFloat = 2e-6
    """0 is where a schedule may end."""
    warmup_steps: NonNegativeInt = 1
    weight_decay: NonNegativeFloat = 0.01
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: PositiveFloat = 1e-8
    clip_norm: PositiveFloat = 1.0
    """Longest gradient, as a Euclidean norm over all weights."""


class BatchSettings(Settings):
    """What one optimizer step is made of."""

    groups: PositiveInt = 32
    """Prompts in a step."""
    group_size: int = Field(default=16, ge=2)
    """Completions of each prompt (G)."""
    refills: NonNegativeInt = 3
    """Batches of rejected groups that a step replaces by fresh ones, before it makes do with fewer."""
    max_tokens: PositiveInt = 16384
    """Padded tokens of one forward and backward pass; a longer sequence passes alone."""
    max_pixels: PositiveInt = MAX_PIXELS


class LearnerSettings(Settings):
    """How the weights are held and moved."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic; the weights themselves are float32. auto: bfloat16 on a GPU."""
    freeze_vision: bool = False
    """The vision tower stays as it is; what maps its features into the language model does not."""
    freeze_projector: bool = False
    gradient_checkpointing: bool = False
    packing: Literal["auto", "padded", "shared", "packed"] = "auto"
    """How completions stand in rows: one in a row; a group behind one copy of its prompt; all in one row, which is
    for flash attention. auto: one in a row or the group, whichever costs less."""
    lora_rank: NonNegativeInt = 0
    """Train matrices of this rank beside the language model's layers, and not the layers; 0: the layers."""
    lora_alpha: PositiveFloat = 32.0
    """Their product counts alpha / rank times."""
    rollout_batch: PositiveInt = 256
    """Completions that the in-process engine decodes together."""

    machine_fields: ClassVar[frozenset[str]] = frozenset({"device", "rollout_batch"})


class TrainSettings(Settings):
    """`ovrl train`."""

    recipe: str = "grpo"
    """A built-in recipe, an entry point of `ovrl.recipes`, or `module:attribute`; `a+b` is both together."""
    steps: PositiveInt = 1000
    eta: NonNegativeInt = 4
    """Most steps that a trained token may be behind. 0: sample and train in turns; bit-repeatable on a CPU."""
    save_every: PositiveInt = 50
    """Steps between checkpoints."""
    keep_checkpoints: PositiveInt = 3
    """Older ones are removed."""
    batch: BatchSettings = BatchSettings()
    sampling: SamplingSettings = SamplingSettings()
    score: ScoreSettings = ScoreSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    learner: LearnerSettings = LearnerSettings()
    schedules: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Settings that change with the step: dotted name -> {shape, points}; see `schedule`."""

    machine_fields: ClassVar[frozenset[str]] = frozenset({"keep_checkpoints", "save_every"})

    @model_validator(mode="after")
    def _on_policy(self) -> "TrainSettings":
        """Refuse sampling that the recorded log-probabilities do not describe: the weights would be biased."""
        drawn = self.sampling
        if (drawn.temperature, drawn.top_p, drawn.top_k) != (1.0, 1.0, 0):
            raise ValueError("training samples from the policy itself: sampling.temperature and top_p 1, top_k 0")
        return self

    @model_validator(mode="after")
    def _overlong(self) -> "TrainSettings":
        if self.objective.advantage.overlong_buffer >= self.sampling.max_new_tokens:
            raise ValueError("objective.advantage.overlong_buffer must be shorter than sampling.max_new_tokens")
        return self


def preset_names() -> list[str]:
    """Return the names of the shipped presets."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def load_preset(name: str) -> dict[str, Any]:
    """Return the values of a preset, its name under the key "".

    Raises:
        UsageError: there is no such preset.
    """
    path = _PRESETS / f"{name}.yaml"
    if not path.exists():
        known = preset_names()
        raise UsageError(f"no such preset {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}")
    return read_preset(path)
