"""Settings of `ovrl rollout`."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, SecretStr, model_validator

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

    servers: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """URLs of running servers, for `sglang` and `openai`."""
    api_key: SecretStr | None = None
    """What the servers ask for. Give it as OVRL_ROLLOUT__ENGINE__API_KEY or OPENAI_API_KEY; it is written nowhere."""
    admin_key: SecretStr | None = None
    """The `--admin-api-key` of SGLang servers, if they have one."""
    weights_dir: str = "/dev/shm"
    """Where new weights are laid for the servers to read; every one of them must see it at the same path."""
    launch: LaunchSettings = LaunchSettings()
    """Servers that are started for `sglang`, and ended with it."""

    machine_fields: ClassVar[frozenset[str]] = frozenset(
        {"device", "batch_size", "processes", "threads", "servers", "api_key", "admin_key", "weights_dir"}
    )


class RolloutSettings(Settings):
    """`ovrl rollout`."""

    n: PositiveInt = 8
    """Completions for each sample."""
    prompt_type: Literal["normal", "thinking", "both"] | None = None
    """Ask every sample in this mode; None asks each in its own. both: n completions in normal mode, numbered from 0,
    and n in thinking mode, numbered from n."""
    max_pixels: PositiveInt = MAX_PIXELS
    """Larger images are shrunk to this area."""
    shuffle_options: bool = False
    """Show the options of multiple-choice problems in another order to each completion."""
    stop_early: bool = False
    """Stop sampling a prompt when the verdict that `ovrl curate` will come to, by its settings, is settled."""
    with_tokens: bool = False
    """Write token ids and log-probabilities too."""
    sampling: SamplingSettings = SamplingSettings()
    engine: EngineSettings = EngineSettings()

    @model_validator(mode="after")
    def _one_verdict(self) -> Self:
        if self.stop_early and self.prompt_type == "both":
            raise ValueError("cannot stop early in both modes: curation counts both as one; give one mode")
        return self

    @property
    def completions(self) -> int:
        """Completions of a sample, in all modes."""
        return self.n * (2 if self.prompt_type == "both" else 1)
