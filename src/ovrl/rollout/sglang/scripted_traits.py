"""What kind of server the scripted one is, and what its requests can meet."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["die", "restart", "hang", "500", "slow", "garbage", "cut", "wrong_version", "wrong_length", "abort"]
"""What a request meets: the server is killed and comes back with the weights of its start, after a while or at once;
no answer; an error; a late answer; no JSON; a connection that breaks in the middle; false words; an abort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What kind of server it is."""

    version: str = "0.5.23"
    most: int = 8
    """Requests that run at once."""
    caches_images: bool = False
    original_logprobs: bool = False
    api_key: str | None = None
    admin_key: str | None = None
    away_s: float = 0.2
    """Seconds until a server that was killed is back."""
    late_s: float = 0.3
    """Seconds that a slow answer takes."""
    model_type: str | None = None
    """Another than that of its directory."""
    miscounts: bool = False
    """Whether it reads every image as one token more than the processor does."""
    tokenizes_again: bool = False
    """Whether it makes text of the tokens that it is sent, and tokens of the text."""
    mute: bool = False
    """Whether /generate never answers."""
    interval: bool = True
    """Whether it knows `stream_interval`."""
    reads_disk: bool = True
    """Whether it sees the directories that it is told to read."""
    spoils_weights: bool = False
    """Whether what it has after an update is something else."""

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])
