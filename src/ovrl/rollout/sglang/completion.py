"""One completion from its first token to its last, however many servers and weights it takes."""

import asyncio
import logging
import uuid
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from ovrl.records import FinishReason
from ovrl.rollout.engine import Generation, Refusal, Request
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.row import Ending
from ovrl.rollout.sglang import messages
from ovrl.rollout.sglang.encoding import EncodedPrompt
from ovrl.rollout.sglang.failures import BrokenOffError, DistrustedError, RejectedError, ServerError
from ovrl.rollout.sglang.fleet import Fleet
from ovrl.rollout.sglang.messages import Segment
from ovrl.rollout.sglang.server import Server

log = logging.getLogger(__name__)

ATTEMPTS = 12
"""Failures of one completion before its request is refused: it may be what the servers fail of."""

_AGAIN_S = 0.05
"""Seconds before a failed exchange is tried again."""

_RUN = uuid.uuid4().hex[:8]
_SERIAL = count()
"""Together the names of our requests: no server has seen them before."""


@dataclass(slots=True, eq=False)
class Group:
    """A request while its completions are made."""

    request: Request
    prompt: EncodedPrompt
    limit: int
    """Tokens of a completion, at most: those that are asked for, or that the model has room for."""
    server: Server | None = None
    """Has read the prompt and its images, and keeps them at hand."""
    refused: bool = False


@dataclass(slots=True)
class Draft:
    """What there is of a completion."""

    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    sampling_logprobs: list[float] = field(default_factory=list[float])
    versions: list[int] = field(default_factory=list[int])
    finish_reason: FinishReason | None = None

    def add(
        self, segment: Segment, versions: dict[str, int], limit: int, stop: tuple[str, ...], ending: Ending
    ) -> None:
        """Append what came, up to the end of the completion.

        A server looks for stop strings in what it samples itself: one that began before is ours to find.
        """
        continued = bool(self.token_ids)
        given = zip(segment.token_ids, segment.logprobs, segment.sampling_logprobs, segment.versions, strict=True)
        for token, logprob, sampling_logprob, name in given:
            self.token_ids.append(token)
            self.logprobs.append(logprob)
            self.sampling_logprobs.append(sampling_logprob)
            self.versions.append(versions[name])
            if ending.reached(self.token_ids, stop if continued else ()):
                self.finish_reason = "stop"
                return
        if segment.finish_reason in ("stop", "length"):
            self.finish_reason = segment.finish_reason
        elif self.token_ids and ending.reached(self.token_ids, stop):
            self.finish_reason = "stop"
        elif len(self.token_ids) >= limit:
            self.finish_reason = "length"


class Sampler:
    """Makes completions with a fleet."""

    def __init__(self, fleet: Fleet, processor: PromptProcessor, counts: Counter[str]) -> None:
        self._fleet = fleet
        self._processor = processor
        self._counts = counts
        self._ending = Ending(processor.tokenizer, processor.eos_ids)
        self._stop_ids, self._banned_ids = sorted(processor.eos_ids), processor.banned_ids()

    async def complete(self, group: Group, k: int, seed: int) -> Generation | Refusal | None:
        """Return a finished completion, the refusal of its request, or None when that was refused already.

        Raises:
            OvrlError: there is no server left.
        """
        draft, shunned, failures = Draft(), None, 0
        while draft.finish_reason is None:
            server = await self._fleet.lease(group.server, shunned)
            if group.refused:
                return None
            group.server, before = server, len(draft.token_ids)
            try:
                fault = await self._go_on(server, group, draft, seed)
            except RejectedError as error:
                return self._refuse(group, str(error))
            got_on = len(draft.token_ids) > before
            if fault is None or isinstance(fault, BrokenOffError):
                shunned = None
            else:
                self._counts["failed_exchanges"] += 1
                shunned = server
                failures = 0 if got_on else failures + 1
                if failures >= ATTEMPTS:
                    return self._refuse(group, f"no server could answer it in {ATTEMPTS} attempts; the last: {fault}")
                await asyncio.sleep(_AGAIN_S)
            if draft.finish_reason is None and got_on:
                self._counts["continued"] += 1
        return self._generation(group, k, draft)

    async def _go_on(self, server: Server, group: Group, draft: Draft, seed: int) -> ServerError | None:
        """Let a server sample on; return what went wrong, if anything did."""
        sampling = group.request.sampling
        prompt_tokens = group.prompt.prompt_tokens + len(draft.token_ids)
        body = messages.body(
            group.prompt,
            draft.token_ids,
            rid=f"ovrl-{_RUN}-{next(_SERIAL)}",
            sampling=sampling,
            limit=group.limit,
            seed=seed,
            stop_ids=self._stop_ids,
            banned_ids=self._banned_ids,
            dialect=server.dialect,
            weights=server.label,
        )
        cost = prompt_tokens + group.limit - len(draft.token_ids)
        flight = await server.sample(body, sampling, cost, prompt_tokens)
        segment = flight.segment
        if segment is None:
            return flight.fault
        if segment.refusal is not None:
            raise RejectedError(segment.refusal, 400)
        if bad := [token for token in segment.token_ids if token >= self._processor.vocabulary]:
            fault = DistrustedError(f"{server.url} sampled token {bad[0]}, outside of the vocabulary")
            server.blame(fault)
            return fault
        draft.add(segment, server.labels, group.limit, sampling.stop, self._ending)
        if flight.fault is None and segment.finish_reason == "abort":
            self._counts["aborted"] += 1
            # Who is aborted by a server that is not being paused has had bad luck there, or worse.
            return (ServerError if server.usable else BrokenOffError)(f"{server.url} aborted it", "aborted_by_server")
        return flight.fault

    def _refuse(self, group: Group, reason: str) -> Refusal | None:
        if group.refused:
            return None
        group.refused = True
        self._counts["refused"] += 1
        return Refusal(request_id=group.request.id, reason=reason)

    def _generation(self, group: Group, k: int, draft: Draft) -> Generation:
        assert draft.finish_reason is not None
        return Generation(
            request_id=group.request.id,
            k=k,
            text=self._processor.tokenizer.decode(draft.token_ids, skip_special_tokens=True),
            token_ids=tuple(draft.token_ids),
            logprobs=tuple(draft.logprobs),
            sampling_logprobs=tuple(draft.sampling_logprobs),
            versions=tuple(draft.versions),
            finish_reason=draft.finish_reason,
            prompt_tokens=group.prompt.prompt_tokens,
        )
