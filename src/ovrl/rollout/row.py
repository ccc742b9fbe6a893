"""One completion in the making, and when it ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ovrl.records import FinishReason
from ovrl.rollout.engine import Generation, Request
from ovrl.rollout.reading import Prefix

_LEAD = 4
"""Tokens decoded before those that can hold a stop string: what a tokenizer strips or tears at the beginning of a
text must not be what is searched."""


@dataclass(slots=True)
class Row:
    """A completion and what was sampled of it."""

    request: Request
    k: int
    prefix: Prefix
    """What the weights in force made of the prompt; shared by the group."""
    limit: int
    """Tokens at which it ends, finished or not."""
    chance: np.ndarray
    """[limit] the number in [0, 1) that each token is drawn with."""
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    sampling_logprobs: list[float] = field(default_factory=list[float])
    versions: list[int] = field(default_factory=list[int])
    finish_reason: FinishReason | None = None

    @property
    def held(self) -> int:
        """Tokens that the model has read: all but the last one sampled."""
        return self.prefix.tokens + len(self.token_ids) - 1

    def chances(self, count: int) -> np.ndarray:
        """Return [count] numbers for the next tokens; 0 for those behind the limit, which are thrown away."""
        done = len(self.token_ids)
        found = np.zeros(count)
        part = self.chance[done : done + count]
        found[: len(part)] = part
        return found

    def add(self, token: int, logprob: float, sampling_logprob: float, version: int, ending: "Ending") -> None:
        """Append a token; behind the end of the completion, do nothing."""
        if self.finish_reason is not None:
            return
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.sampling_logprobs.append(sampling_logprob)
        self.versions.append(version)
        if ending.reached(self.token_ids, self.request.sampling.stop):
            self.finish_reason = "stop"
        elif len(self.token_ids) == self.limit:
            self.finish_reason = "length"

    def generation(self, tokenizer: Any) -> Generation:
        """Return what was made of it."""
        assert self.finish_reason is not None
        return Generation(
            request_id=self.request.id,
            k=self.k,
            text=tokenizer.decode(self.token_ids, skip_special_tokens=True),
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
            sampling_logprobs=tuple(self.sampling_logprobs),
            versions=tuple(self.versions),
            finish_reason=self.finish_reason,
            prompt_tokens=self.prefix.tokens,
        )


class Ending:
    """Tells whether a completion has come to its end: a stop token, or a stop string in its text."""

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids

    def reached(self, token_ids: Sequence[int], stop: Sequence[str]) -> bool:
        """Return whether the last token ends the completion; the tokens before it did not."""
        if token_ids[-1] in self._stop_ids:
            return True
        if not stop:
            return False
        # Each token is at least a byte, so these hold any stop string that the last token completes.
        window = max(len(text.encode()) for text in stop) + _LEAD
        tail: str = self._tokenizer.decode(token_ids[-window:], skip_special_tokens=True)
        return any(text in tail for text in stop)
