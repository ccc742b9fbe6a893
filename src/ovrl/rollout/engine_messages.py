"""What an engine's process and its parent say to each other, as pickles through a pair of sockets.

    parent --> Start, then Request, Order        child --> PULL, Ready, Generation, Refusal, Done, Failure

The child asks for one request at a time, when its engine has room; until it has come it does not ask again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

PULL: Final = "pull"
READY: Final = "ready"


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a version of the policy can be read."""

    path: Path
    """A file of tensors, or a model directory."""
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a child is to be."""

    engine: str
    """`module:function` that makes the engine from the next two."""
    model: str
    settings: Any
    """EngineSettings."""
    number: int
    """Of the child, from 0; it takes the GPU of this number."""
    weights: Weights | None
    """None: the model's own, as version 0."""
    paused: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Pause, resume, or take weights; answered by `Done` of the same number."""

    number: int
    act: Literal["pause", "resume", "load"]
    weights: Weights | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """An order was carried out, or refused with a reason that is the user's affair."""

    number: int
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The last words of a child."""

    reason: str
    kind: Literal["usage", "engine", "crash"]
    """A UsageError or OvrlError of the engine, which another try would repeat; or anything else."""
