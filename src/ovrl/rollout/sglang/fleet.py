"""All servers together: who takes part, with which weights, and who is asked next.

    joining --probe, current weights--> up --failures, other weights, no answer--> aside --probe, current weights--> up

Every server has a watch of its own, that brings it in, looks after it and brings it back.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ovrl.errors import OvrlError, UsageError
from ovrl.rollout.sglang.control import Control, Limits
from ovrl.rollout.sglang.failures import RejectedError, ServerError
from ovrl.rollout.sglang.probe import Probe, UntrustedError
from ovrl.rollout.sglang.server import Server

log = logging.getLogger(__name__)

_FIRST_LABEL = "default"
"""What a server calls the weights that it started with."""

_BACK_OFF = 2.0
_LONGEST_S = 30.0
"""Between two attempts to bring a server back."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What every server should have."""

    version: int
    path: Path | None
    """None when no server can read them: the model is only known by a hub id."""
    first: bool = False
    """Whether they are those that servers start with."""

    @property
    def label(self) -> str:
        """Their name on the servers."""
        return str(self.version)

    def has(self, label: str) -> bool:
        """Whether a server that reports `label` has them."""
        return label == self.label or (self.first and label == _FIRST_LABEL)


class Fleet:
    """The servers of one engine. Lives in one event loop."""

    def __init__(
        self, controls: Sequence[Control], probe: Probe, path: Path | None, counts: Counter[str], limits: Limits
    ) -> None:
        """Know the servers; nothing is sent.

        Args:
            controls: one for each server.
            probe: what a server has to pass.
            path: of the weights that servers are started with, as they can read them.
            counts: of what happens.
            limits: of what is waited for.
        """
        self.servers = [Server(control, counts) for control in controls]
        self.counts = counts
        self.weights = Weights(0, path, first=True)
        self.paused = False
        self._probe = probe
        self._limits = limits
        self._changed = asyncio.Condition()
        self._watches: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Bring in every server that answers; the others join when they do.

        Raises:
            UsageError: a server cannot be trusted, or servers have different weights.
            OvrlError: none answers within the time limit.
        """
        untrusted: list[UntrustedError] = []
        deadline = time.monotonic() + self._limits.patience_s
        while not any(server.up for server in self.servers):
            for server, outcome in zip(self.servers, await self._each(self.servers, self._bring_in), strict=True):
                if isinstance(outcome, UntrustedError):
                    untrusted.append(outcome)
                elif outcome is not None:
                    server.last_error = str(outcome)
            if untrusted:
                raise untrusted[0]
            if time.monotonic() > deadline:
                raise OvrlError(self._nobody())
            if not any(server.up for server in self.servers):
                await asyncio.sleep(self._limits.watch_s)
        for server in self.servers:
            if not server.up:
                log.warning("server %s may join later: %s", server.url, server.last_error)
        self._watches = [asyncio.create_task(self._watch(server)) for server in self.servers]

    async def close(self) -> None:
        """Let go of all servers, and leave none of them paused."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        if self.paused:
            await self._each([server for server in self.servers if server.up], lambda s: s.control.resume())
        for server in self.servers:
            await server.control.client.close()

    @property
    def room(self) -> int:
        """Completions that all servers together can be given, those under way included."""
        return sum(server.window for server in self.servers if server.up)

    async def lease(self, preferred: Server | None, shunned: Server | None) -> Server:
        """Return the server to ask next: the preferred one unless it is crowded or gone, else the least busy one.

        Args:
            preferred: has read the prompt of this group before.
            shunned: has just failed this completion; asked if there is no other.

        Raises:
            OvrlError: no server has answered for longer than the limit.
        """
        since = time.monotonic()
        while not (usable := [server for server in self.servers if server.usable]):
            if self.paused or any(server.up for server in self.servers):  # paused, or given new weights
                since = time.monotonic()
            if time.monotonic() - since > self._limits.patience_s:
                raise OvrlError(self._nobody())
            await self._wait()
        usable = [server for server in usable if server is not shunned] or usable
        if preferred in usable and not preferred.crowded:
            return preferred
        with_room = [server for server in usable if server.has_room]
        return min(with_room or usable, key=lambda server: server.outstanding)

    async def pause(self) -> None:
        """Let no server sample."""
        self.paused = True
        await self._each([server for server in self.servers if server.up], self._pause)

    async def resume(self) -> None:
        """Let them sample again."""
        self.paused = False
        await self._each([server for server in self.servers if server.up], self._resume)

    async def update(self, weights: Weights, load: Callable[[Server], Awaitable[None]] | None = None) -> None:
        """Give all servers new weights, each on its own; who fails is put aside, and is given them when it is back.

        Args:
            weights: which.
            load: gives them to a server that is paused, if not from the disk.

        Raises:
            UsageError: every server refuses them; all have what they had.
            OvrlError: no server has taken them within the time limit.
        """
        before, self.weights = self.weights, weights
        since = time.monotonic()
        while True:
            outcomes = await self._each(
                [server for server in self.servers if server.up],
                lambda server: self._update(server, load or self._from_disk),
            )
            refusals = [outcome for outcome in outcomes if isinstance(outcome, RejectedError)]
            have = [server for server in self.servers if server.up and weights.has(server.label)]
            if refusals and not have:
                self.weights = before
                raise UsageError(f"the servers refuse the weights: {refusals[0]}")
            if have:
                break
            if time.monotonic() - since > self._limits.patience_s:
                raise OvrlError(self._nobody())
            await self._wait()
        for server in self.servers:
            if server.up and server not in have:
                server.put_aside(f"it refuses the weights of version {weights.version}: {refusals[0]}")
        await self._compare_checksums(have)

    async def _update(self, server: Server, load: Callable[[Server], Awaitable[None]]) -> None:
        """Pause a server, give it the current weights and let it go on."""
        async with server.lock:
            if not server.up or self.weights.has(server.label):
                return
            try:
                await self._hold(server)
                await self._give(server, load)
                await self._let_go(server)
            except RejectedError as error:
                server.last_error = str(error)
                await self._let_go(server)
                raise
            except ServerError as error:
                server.put_aside(str(error))
                raise

    async def _give(self, server: Server, load: Callable[[Server], Awaitable[None]]) -> None:
        label = self.weights.label
        # Known before it is used: a token that the new weights sampled may come back before the answer does.
        server.labels[label] = self.weights.version
        try:
            await load(server)
        except RejectedError:
            server.labels.pop(label, None)
            raise
        reported = str((await server.control.model()).get("weight_version"))
        if reported != label:
            await server.control.stamp(label)
        server.label = label
        self.counts["weight_updates"] += 1

    async def _from_disk(self, server: Server) -> None:
        if self.weights.path is None:
            raise RejectedError(
                f"the weights of version {self.weights.version} are in no directory that {server.url} could read", 400
            )
        await server.control.update_from_disk(self.weights.path, self.weights.label)

    async def _pause(self, server: Server) -> None:
        async with server.lock:
            try:
                await self._hold(server)
            except (ServerError, RejectedError) as error:
                server.put_aside(str(error))

    async def _resume(self, server: Server) -> None:
        async with server.lock:
            try:
                await self._let_go(server)
            except (ServerError, RejectedError) as error:
                server.put_aside(str(error))

    async def _hold(self, server: Server) -> None:
        """Take no request in, and let nothing be sampled. Idempotent."""
        was_open, server.open = server.open, False
        if was_open:
            await server.control.pause(server.pause_mode)
        if server.pause_mode == "abort":
            await server.drain()

    async def _let_go(self, server: Server) -> None:
        if self.paused:
            return
        await server.control.resume()
        server.reopen()
        await self._tell()

    async def _bring_in(self, server: Server) -> None:
        """Examine a server, give it the current weights, and let it take part.

        Raises:
            ServerError, RejectedError: it cannot now.
            UntrustedError: it must not.
        """
        findings = await self._probe.examine(server.control)
        server.dialect, server.pause_mode = findings.dialect, findings.pause_mode
        server.expect(await server.control.load())
        async with server.lock:
            label = findings.label
            if not self.weights.has(label) and not self._adopt(label):
                self.counts["servers_updated_to_join"] += 1
                await server.control.pause("abort")
                try:
                    await self._give(server, self._from_disk)
                finally:
                    await server.control.resume()
                label = self.weights.label
            server.take_part(label, self.weights.version)
            if self.paused:
                await server.control.pause(server.pause_mode)
            else:
                server.reopen()
        log.info(
            "server %s takes part: sglang %s, weights %r, pauses by %s%s",
            server.url,
            findings.version,
            label,
            findings.pause_mode,
            "; it caches images: start it with SGLANG_VLM_CACHE_SIZE_MB=0 to update without aborting"
            if findings.dialect.vision_cache
            else "",
        )
        await self._tell()

    def _adopt(self, label: str) -> bool:
        """Take the version of the first server for that of all, if its weights were updated before we came."""
        if not self.weights.first or any(server.up for server in self.servers) or not label.isdecimal():
            return False
        self.weights = Weights(int(label), None)
        return True

    async def _compare_checksums(self, up: Sequence[Server]) -> None:
        """Put servers aside that have other weights than most, under the same name."""
        if len(up) < 2:
            return
        sums: list[str | None] = []
        for server in up:
            try:
                sums.append(await server.control.checksum())
            except ServerError as error:
                server.blame(error)
                sums.append(None)
        known = Counter(each for each in sums if each is not None)
        if len(known) < 2:
            return
        right = known.most_common(1)[0][0]
        for server, each in zip(up, sums, strict=True):
            if each not in (None, right):
                self.counts["checksums_differ"] += 1
                server.label = ""
                server.put_aside("its weights have another checksum after the update")

    async def _watch(self, server: Server) -> None:
        """Bring a server in, look after it and bring it back, for ever."""
        pause_s = self._limits.watch_s
        while True:
            server.alarm.clear()
            if server.up:
                pause_s = self._limits.watch_s
                await self._look(server)
                with suppress(TimeoutError):  # not wait_for: before Python 3.12 it may swallow being cancelled
                    async with asyncio.timeout(pause_s):
                        await server.alarm.wait()
                continue
            await server.control.client.close()  # connections of the server that was
            try:
                await self._bring_in(server)
            except (ServerError, RejectedError, UsageError) as error:
                if isinstance(error, UntrustedError) and server.last_error != str(error):
                    log.warning("server %s is not used: %s", server.url, error)
                server.last_error = str(error)
                await asyncio.sleep(pause_s)
                pause_s = min(_BACK_OFF * pause_s, _LONGEST_S)

    async def _look(self, server: Server) -> None:
        if server.lock.locked():
            return
        try:
            server.look(await server.control.load())
            reported = str((await server.control.model()).get("weight_version") or "")
        except (ServerError, RejectedError) as error:
            if not server.lock.locked():
                server.put_aside(str(error))
            return
        if not server.lock.locked() and server.up and reported not in server.labels:
            server.put_aside(f"it has weights {reported!r}, and not {server.label!r}")

    async def _each(
        self, servers: Sequence[Server], act: Callable[[Server], Awaitable[None]]
    ) -> list[ServerError | RejectedError | UsageError | None]:
        """Do the same with several servers at once; return what each failed with."""

        async def one(server: Server) -> ServerError | RejectedError | UsageError | None:
            try:
                await act(server)
            except (ServerError, RejectedError, UsageError) as error:
                return error
            return None

        return list(await asyncio.gather(*(one(server) for server in servers)))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.watch_s), self._changed:
                await self._changed.wait()

    def _nobody(self) -> str:
        states = "; ".join(f"{server.url}: {server.last_error}" for server in self.servers)
        return f"no SGLang server has answered for {self._limits.patience_s:g} s ({states})"
