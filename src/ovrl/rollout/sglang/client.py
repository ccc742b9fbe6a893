"""HTTP with one server: keys, time limits, JSON, and the errors of `failures`.

aiohttp, since it streams, keeps hundreds of connections open cheaply, and is what the scripted server is made of, too.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson

from ovrl.rollout.sglang.failures import DistrustedError, LostError, RejectedError, ServerError

CONNECT_S = 10.0
"""Seconds for a connection to be made."""

_LONGEST = 300
"""Characters of a server's words that go into an error."""


class Client:
    """Calls to one server. Used from one event loop alone."""

    def __init__(self, url: str, *, api_key: str | None = None, admin_key: str | None = None) -> None:
        """Make a client; nothing is sent.

        Args:
            url: of the server, such as http://10.0.0.2:30000.
            api_key: of ordinary routes.
            admin_key: of routes that control the server; where it has none of its own, `api_key` opens both.
        """
        self.url = url.rstrip("/")
        self._keys = {False: api_key, True: admin_key or api_key}
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, *, limit_s: float) -> Any:
        """Return the JSON that a path answers with; None if it answers with none.

        Raises:
            ServerError: the server cannot be reached in time, or failed.
            RejectedError: it answered with a status of 4xx.
        """
        return await self._call("GET", path, None, limit_s=limit_s, admin=False)

    async def post(self, path: str, body: Any, *, limit_s: float, admin: bool = False) -> Any:
        """Send JSON and return what comes back; see `get`. `admin` takes the other key."""
        return await self._call("POST", path, body, limit_s=limit_s, admin=admin)

    async def events(self, path: str, body: Any) -> AsyncIterator[Any]:
        """Send JSON and yield the server-sent events that come back, up to `[DONE]`. Who reads sets the time limit.

        Raises:
            ServerError: the connection broke, or the server failed.
            RejectedError: it answered with a status of 4xx.
        """
        try:
            async with self._open("POST", path, body, admin=False, limit_s=None) as answer:
                await self._check(answer)
                rest = b""
                async for part in answer.content.iter_any():
                    *whole, rest = (rest + part).split(b"\n\n")
                    for event in whole:
                        data = event.removeprefix(b"data: ")
                        if data == b"[DONE]":
                            return
                        yield self._parse(data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LostError(f"{self.url}{path}: {_words(error)}") from error
        raise LostError(f"{self.url}{path}: the answer ended in the middle")

    async def close(self) -> None:
        """Close every connection; calls under way fail. The client may be used again."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _call(self, method: str, path: str, body: Any, *, limit_s: float, admin: bool) -> Any:
        try:
            async with asyncio.timeout(limit_s), self._open(method, path, body, admin=admin, limit_s=limit_s) as answer:
                await self._check(answer)
                data = await answer.read()
        except TimeoutError as error:
            raise LostError(f"{self.url}{path}: no answer within {limit_s:g} s", "timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            raise LostError(f"{self.url}{path}: {_words(error)}") from error
        return self._parse(data) if data[:1] in (b"{", b"[") else None

    def _open(self, method: str, path: str, body: Any, *, admin: bool, limit_s: float | None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        headers = {"Content-Type": "application/json"}
        if key := self._keys[admin]:
            headers["Authorization"] = f"Bearer {key}"
        return self._session.request(
            method,
            self.url + path,
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_S),
        )

    async def _check(self, answer: aiohttp.ClientResponse) -> None:
        """Raise what the status says."""
        if answer.status < 400:
            return
        words = " ".join((await answer.text(errors="replace")).split())[:_LONGEST]
        reason = f"{answer.url.path} at {self.url} answered {answer.status}: {words}"
        if answer.status in (408, 429) or answer.status >= 500:
            raise ServerError(reason, f"http_{answer.status}")
        raise RejectedError(reason, answer.status)

    def _parse(self, data: bytes) -> Any:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            shown = data[:60].decode(errors="replace")
            raise DistrustedError(f"{self.url} answered with what is no JSON: {shown!r}") from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__
