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


class ObjectiveSettings(Settings):
    """The loss; the defaults are the recipe's."""

    anchor: Literal["self", "recompute", "rollout"] = "self"
    """What a ratio divides by: the policy itself without gradient (its value is then 1), its log-probabilities before
    the first update of the step, or those under which the tokens were sampled."""
    minibatches: PositiveInt = 1
    """Optimizer updates in a step."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """How far a ratio may fall below 1."""
    clip_high: NonNegativeFloat = 0.28
    """How far a ratio may rise above 1."""
    behaviour_cap: PositiveFloat = 5.0
    """Largest weight exp(proximal - behaviour) of a token."""
    behaviour_mode: Literal["mask", "truncate"] = "mask"
    """Above the cap: leave the token out (the original's code), or cut the weight (its text)."""


class OptimizerSettings(Settings):
    """AdamW with a constant rate after a short linear rise."""

    lr: PositiveFloat = 2e-6
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
    """How often rejected groups are replaced by fresh ones before a smaller step is made."""
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
    """A built-in recipe, an entry point of `ovrl.recipes`, or `module:attribute`."""
    steps: PositiveInt = 1000
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

    machine_fields: ClassVar[frozenset[str]] = frozenset({"keep_checkpoints", "save_every"})

    @model_validator(mode="after")
    def _on_policy(self) -> "TrainSettings":
        """Refuse sampling that the recorded log-probabilities do not describe: the weights would be biased."""
        drawn = self.sampling
        if (drawn.temperature, drawn.top_p, drawn.top_k) != (1.0, 1.0, 0):
            raise ValueError("training samples from the policy itself: sampling.temperature and top_p 1, top_k 0")
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
