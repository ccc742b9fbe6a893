"""One server as the fleet sees it: what is under way there, what weights it has, whether it can be relied on."""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ovrl.rollout.engine import Sampling
from ovrl.rollout.sglang import messages
from ovrl.rollout.sglang.control import Control, Limits, Load, PauseMode
from ovrl.rollout.sglang.failures import BrokenOffError, DistrustedError, LostError, ServerError
from ovrl.rollout.sglang.messages import Dialect, Segment

log = logging.getLogger(__name__)

_FIRST_WINDOW = 32
"""Requests under way at a server that does not say how many it runs, before its queue has told more."""

_GRACE_S = 0.5
"""For answers that were sent before a pause was confirmed. What the server took in after the pause answers never."""

_PATIENCE = 10
"""Times as long as for a part of a completion, for a whole one."""

_FOREVER = 30 * 24 * 3600.0
"""Seconds. Whoever waits watches the server, and breaks off by `stall_s`."""


@dataclass(slots=True, eq=False)
class Flight:
    """One exchange under way."""

    cost: int
    """Tokens that the server has to read and to sample for it, at most."""
    heard: float = field(default_factory=time.monotonic)
    """When something new of it came last."""
    segment: Segment | None = None
    """What has come so far."""
    fault: ServerError | None = None
    """What ended it, if it did not end well."""
    task: "asyncio.Task[None] | None" = None


class Server:
    """State of one server. Lives in one event loop."""

    def __init__(self, control: Control, counts: Counter[str]) -> None:
        self.control = control
        self.url = control.client.url
        self.limits: Limits = control.limits
        self.counts = counts
        self.dialect = Dialect()
        self.pause_mode: PauseMode = "abort"
        self.up = False
        """Whether it takes part."""
        self.open = False
        """Whether it takes requests: not during a pause or an update."""
        self.label = ""
        """Its name for the weights that it has."""
        self.labels: dict[str, int] = {}
        """Every name of weights that it had since it takes part, and the policy version of each."""
        self.lock = asyncio.Lock()
        """Held by who pauses it or changes its weights."""
        self.alarm = asyncio.Event()
        """Set when somebody should look at it now."""
        self.last_error = "it has not answered yet"
        self.window = _FIRST_WINDOW
        self._most = 0
        self._failures = 0
        self._queued = False
        self._flights: set[Flight] = set()
        self.outstanding = 0
        """Tokens of all that is under way."""

    @property
    def usable(self) -> bool:
        """Whether a request can be sent now."""
        return self.up and self.open

    @property
    def has_room(self) -> bool:
        """Whether a request would soon be run, and not wait in the server's queue."""
        return len(self._flights) < self.window

    @property
    def crowded(self) -> bool:
        """Whether a request would wait so long that it is better read anew elsewhere."""
        return len(self._flights) >= 2 * self.window

    async def sample(self, body: dict[str, Any], sampling: Sampling, cost: int, prompt_tokens: int) -> Flight:
        """Send a request and return when it has ended, well or not; what came is checked.

        Args:
            body: from `messages.body`.
            sampling: what it asks.
            cost: tokens to be read and sampled, at most.
            prompt_tokens: that the server should count.
        """
        flight = Flight(cost)
        label = self.label
        flight.task = asyncio.ensure_future(self._read(flight, body, sampling))
        self._flights.add(flight)
        self.outstanding += cost
        try:
            await flight.task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if flight.fault is None or (caller is not None and caller.cancelling()):
                raise
        except ServerError as fault:
            flight.fault = fault
        finally:
            self._flights.discard(flight)
            self.outstanding -= cost
        self._judge(flight, label, prompt_tokens)
        return flight

    async def _read(self, flight: Flight, body: dict[str, Any], sampling: Sampling) -> None:
        if not self.dialect.streams:
            answer = await self.control.client.post("/generate", body, limit_s=_FOREVER)
            flight.segment = messages.segment(answer, sampling, self.dialect)
            return
        async for event in self.control.client.events("/generate", body):
            if "error" in event:
                raise ServerError(f"{self.url}: {event['error']}", "http_500")
            flight.segment = messages.segment(event, sampling, self.dialect)
            flight.heard = time.monotonic()
        if flight.segment is None or flight.segment.finish_reason is None:
            raise DistrustedError(f"{self.url} ended an answer without a finish reason")

    def _judge(self, flight: Flight, label: str, prompt_tokens: int) -> None:
        """Drop what cannot be true, and remember how the server fared."""
        segment = flight.segment
        if segment is not None:
            segment.versions = [name or label for name in segment.versions]
            counted = segment.prompt_tokens
            if strange := [name for name in segment.versions if name not in self.labels]:
                flight.segment = None
                flight.fault = DistrustedError(
                    f"{self.url} sampled with weights {strange[0]!r}, and not {label!r}", "weights"
                )
            elif counted is not None and counted != prompt_tokens:
                flight.segment = None
                flight.fault = DistrustedError(
                    f"{self.url} counts {counted} prompt tokens where we count {prompt_tokens}", "prompt_tokens"
                )
        if flight.fault is None:
            self._failures = 0
        elif not isinstance(flight.fault, BrokenOffError):
            self.blame(flight.fault)

    def blame(self, fault: ServerError) -> None:
        """Count a failure; put the server aside after several in a row, or when it has other weights."""
        self.counts[fault.kind] += 1
        self._failures += 1
        self.alarm.set()
        log.debug("%s", fault)
        if self.up and (self._failures >= self.limits.failures or fault.kind == "weights"):
            self.put_aside(str(fault))

    def put_aside(self, reason: str) -> None:
        """Take no more part; what is under way goes on elsewhere."""
        self.last_error = reason
        if not self.up:
            return
        self.up = self.open = False
        self.counts["servers_lost"] += 1
        log.warning(
            "server %s is put aside: %s; its %d completions go on elsewhere", self.url, reason, len(self._flights)
        )
        self._break_off(LostError(f"{self.url} was put aside: {reason}", "moved"))
        self.alarm.set()

    async def drain(self) -> None:
        """Wait for what a pause brings back, and break off the rest: other weights than it was sent for would do it."""
        late = time.monotonic() + _GRACE_S
        while self._flights and time.monotonic() < late:
            await asyncio.sleep(_GRACE_S / 100)
        self._break_off(BrokenOffError(f"{self.url} is given new weights"))

    def take_part(self, label: str, version: int) -> None:
        """Begin to be used, with weights of that name."""
        self._failures = 0
        self.label, self.labels = label, {label: version}
        self.up = True
        self.counts["servers_joined"] += 1

    def reopen(self) -> None:
        """Take requests again after a pause."""
        now = time.monotonic()
        for flight in self._flights:
            flight.heard = now
        self.open = self.up

    def look(self, load: Load) -> None:
        """Learn from a look at the server: how much it can be given, and which completions do not get on."""
        self._most = load.most or self._most
        margin = max(1, load.running // 8)
        under_way = len(self._flights)
        queued, self._queued = self._queued, load.waiting > margin
        if queued and self._queued:  # twice, so that it is no burst that is being taken in
            self.window = max(1, load.running + margin, self.window // 2)
        elif under_way >= self.window:
            self.window = 2 * self.window
        if self._most:
            self.window = min(self.window, self._most + margin)
        if not self.open:
            return
        # Without streaming there is nothing to hear before the end.
        limit_s = self.limits.stall_s if self.dialect.streams else _PATIENCE * self.limits.stall_s
        for flight in self._flights:
            if time.monotonic() - flight.heard > limit_s and flight.task is not None:
                flight.fault = ServerError(f"{self.url} sent nothing for {limit_s:g} s", "stalled")
                flight.task.cancel()

    def expect(self, load: Load) -> None:
        """Set how much the server can be given from what it says when it joins."""
        self._most = load.most
        self.window = load.most or _FIRST_WINDOW

    def _break_off(self, fault: ServerError) -> None:
        for flight in self._flights:
            if flight.task is not None and not flight.task.done():
                flight.fault = fault
                flight.task.cancel()
