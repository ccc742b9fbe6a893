"""Settings of the supervised warm-up. Free of torch, so that the command line can read them."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ovrl.settings import Settings


class WarmupSettings(Settings):
    """How long and how fast the warm-up learns."""

    steps: PositiveInt = 1000
    """Optimizer steps."""
    batch_size: PositiveInt = 16
    """Samples per step, over all processes together."""
    lr: PositiveFloat = 3e-3
    """Peak learning rate; it rises linearly and falls as a cosine to a tenth."""
    weight_decay: NonNegativeFloat = 0.01
    warmup_share: float = Field(default=0.05, ge=0, le=1)
    """Part of the steps in which the learning rate rises."""
    clip_norm: PositiveFloat = 1.0
    """Longest gradient, as a Euclidean norm over all weights."""
    max_length: PositiveInt = 2048
    """Tokens of prompt and answer together; longer samples are left out, with a warning."""
