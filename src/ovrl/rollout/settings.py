"""Settings of `ovrl rollout`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ovrl.images import MAX_PIXELS
from ovrl.rollout.engine import Sampling
from ovrl.settings import Settings


class SamplingSettings(Settings):
    """How completions are drawn."""

    temperature: NonNegativeFloat = 1.0
    """0 takes the likeliest token."""
    top_p: NonNegativeFloat = 1.0
    top_k: NonNegativeInt = 0
    """0 keeps all tokens."""
    max_new_tokens: PositiveInt = 4096
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """A completion ends where its text holds one of these; the text keeps it."""

    def sampling(self) -> Sampling:
        """Return the same values as the engine takes them."""
        return Sampling(**self.model_dump())


class EngineSettings(Settings):
    """Where completions are made."""

    engine: str = "hf"
    """A built-in engine, an entry point of `ovrl.engines`, or `module:attribute`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU, float32 on a CPU."""
    batch_size: PositiveInt = 256
    """Completions that decode together, in one process."""
    processes: NonNegativeInt = 0
    """Processes that sample side by side, one for each GPU or several on a CPU; 0 samples in this one."""
    threads: PositiveInt | None = None
    """Of each process on a CPU; None: as many as torch likes, or the cores shared out among the processes."""

    machine_fields: ClassVar[frozenset[str]] = frozenset({"device", "batch_size", "processes", "threads"})


class RolloutSettings(Settings):
    """`ovrl rollout`."""

    n: PositiveInt = 8
    """Completions for each sample."""
    prompt_type: Literal["normal", "thinking"] | None = None
    """Ask every sample in this mode; None asks each in its own."""
    max_pixels: PositiveInt = MAX_PIXELS
    """Larger images are shrunk to this area."""
    shuffle_options: bool = False
    """Show the options of multiple-choice problems in another order to each completion."""
    with_tokens: bool = False
    """Write token ids and log-probabilities too."""
    sampling: SamplingSettings = SamplingSettings()
    engine: EngineSettings = EngineSettings()
