"""The calls that control one server: pause, weights, versions, load. One method for each route."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ovrl.rollout.sglang.client import Client
from ovrl.rollout.sglang.failures import DistrustedError, LostError, RejectedError, ServerError
from ovrl.rollout.sglang.gateway import is_gateway, joined, route

PauseMode = Literal["retract", "abort"]
"""retract: requests go back into the queue, and are read again by whatever weights follow.
abort: requests come back with what they have. in_place, the server's third mode, keeps what old weights have read: the
tokens that follow are drawn as no version would draw them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, and counts, after which something is not waited for."""

    control_s: float = 120.0
    """For an ordinary answer. The first image takes a server a while: it then imports what it needs for it."""
    update_s: float = 900.0
    """For a pause that waits for requests, and for weights to be read."""
    stall_s: float = 300.0
    """A completion of which nothing new has come for so long is taken elsewhere."""
    watch_s: float = 1.0
    """Between two looks at a server."""
    patience_s: float = 600.0
    """Without a single server."""
    failures: int = 3
    """In a row, before a server is put aside."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a server is, with everybody's requests."""

    running: int
    waiting: int
    most: int
    """Requests that it runs at once, at most; 0 when it does not say."""


class Control:
    """Controls one server."""

    def __init__(self, client: Client, limits: Limits) -> None:
        self.client = client
        self.limits = limits
        self.gateway = False
        """Whether several servers stand behind the URL."""

    async def ready(self) -> None:
        """Return if the server takes requests; one that was left paused does so again.

        A paused server is not ready. Nor is one at whose `/health` somebody looked during a pause, ever after, until
        `/health` is asked again: it makes a token, and that wipes the mark off.

        Raises:
            ServerError: not yet, or nobody is there.
        """
        try:
            await self.client.get("/ready", limit_s=self.limits.control_s)
        except RejectedError as error:
            if error.status != 404:
                raise
            self.gateway = await is_gateway(self.client, limit_s=self.limits.control_s)
        except LostError:
            raise
        except ServerError:
            await self.resume()
            await self.client.get("/health", limit_s=self.limits.control_s)

    async def model(self) -> Mapping[str, Any]:
        """Return what the server says of its model: `weight_version`, `model_type`, ..."""
        return _mapping(await self._get("/model_info"))

    async def server(self) -> Mapping[str, Any]:
        """Return what the server says of itself: `version` and all its settings."""
        return _mapping(await self._get("/server_info"))

    async def load(self) -> Load:
        """Return how busy the server is, all its data-parallel ranks together."""
        try:
            ranks = _mapping(await self._get("/v1/loads?include=core"))["loads"]
            return Load(
                sum(int(rank["num_running_reqs"]) for rank in ranks),
                sum(int(rank["num_waiting_reqs"]) for rank in ranks),
                sum(int(rank.get("max_running_requests") or 0) for rank in ranks),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DistrustedError(f"{self.client.url}/v1/loads makes no sense: {error!r}") from error

    async def generate(self, body: Mapping[str, Any]) -> Any:
        """Return the answer of `/generate`, for probes."""
        return await self.client.post("/generate", body, limit_s=self.limits.control_s)

    async def pause(self, mode: PauseMode) -> None:
        """Sample nothing more until `resume`. New requests are taken, and wait."""
        await self._post("/pause_generation", {"mode": mode}, limit_s=self.limits.update_s)

    async def resume(self) -> None:
        """Sample on."""
        await self._post("/continue_generation", {})

    async def update_from_disk(self, path: Path, version: str) -> None:
        """Read weights that the server can see at the same path, and forget all prefixes.

        Raises:
            RejectedError: it cannot; it has the weights that it had.
        """
        body = {"model_path": str(path), "weight_version": version, "flush_cache": True}
        answer = await self._post("/update_weights_from_disk", body, limit_s=self.limits.update_s)
        _succeeded(answer, "/update_weights_from_disk", self.client.url)
        if self.gateway:
            await self.checksum()

    async def stamp(self, version: str) -> None:
        """Name the weights. The server would abort all requests if it were not told otherwise."""
        await self._post("/update_weight_version", {"new_version": version, "abort_all_requests": False})

    async def checksum(self) -> str | None:
        """Return a checksum of all weights, the same on every server with the same weights; None if it has none.

        Names that the server does not know are skipped without an error: only this tells.
        """
        try:
            answer = await self._post("/weights_checker", {"action": "checksum"}, limit_s=self.limits.update_s)
        except RejectedError:
            return None
        found = _mapping(answer).get("per_engine_checksum") or _mapping(answer).get("ranks")
        return None if not found else str(found)

    async def _get(self, path: str) -> Any:
        if self.gateway:
            return joined(path, await self.client.get(route(path), limit_s=self.limits.control_s))
        return await self.client.get(path, limit_s=self.limits.control_s)

    async def _post(self, path: str, body: Any, *, limit_s: float | None = None) -> Any:
        limit_s = limit_s or self.limits.control_s
        if self.gateway:
            return joined(path, await self.client.post(route(path), body, limit_s=limit_s, admin=True))
        return await self.client.post(path, body, limit_s=limit_s, admin=True)


def _mapping(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise DistrustedError(f"a mapping was expected, and not {str(answer)[:60]!r}")
    return answer


def _succeeded(answer: Any, path: str, url: str) -> None:
    if isinstance(answer, dict) and answer.get("success") is False:
        raise RejectedError(f"{path} at {url}: {answer.get('message')}", 400)
