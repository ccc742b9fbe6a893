"""Settings of `ovrl rollout`."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, SecretStr

from ovrl.images import MAX_PIXELS
from ovrl.rollout.engine import Sampling
from ovrl.rollout.sglang.launch import LaunchSettings
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


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class EngineSettings(Settings):
    """Where completions are made."""

    engine: str = "transformers"
    """A built-in engine, an entry point of `ovrl.engines`, or `module:attribute`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU, float32 on a CPU."""
    batch_size: PositiveInt = 256
    """Completions that decode together, in the in-process engine."""

    servers: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """URLs of running SGLang servers, for `sglang`."""
    api_key: SecretStr | None = None
    """What the servers were given as `--api-key`. Give it as OVRL_ROLLOUT__ENGINE__API_KEY; it is written nowhere."""
    admin_key: SecretStr | None = None
    """Their `--admin-api-key`, if they have one."""
    weights_dir: str = "/dev/shm"
    """Where new weights are laid for the servers to read; every one of them must see it at the same path."""
    launch: LaunchSettings = LaunchSettings()
    """Servers that are started for `sglang`, and ended with it."""

    machine_fields: ClassVar[frozenset[str]] = frozenset(
        {"device", "batch_size", "servers", "api_key", "admin_key", "weights_dir"}
    )


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
