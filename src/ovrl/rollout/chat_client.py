"""Calls of chat completions: what is sent, what is tried again, and what is given up."""

import asyncio
import email.utils
import itertools
import random
import time
from collections.abc import Iterable
from typing import Any

import aiohttp

from ovrl.errors import OvrlError
from ovrl.images import to_data_uri, to_png
from ovrl.rollout.engine import Request

_CONNECT = 10.0
"""Seconds for a connection to be made."""
_ANSWER = 1800.0
"""Seconds for a completion: a long one on a busy server."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
"""Seconds before a call is tried again; twice as long each time."""
_WORDS = 300
"""Characters of a server's words that go into an error."""


class RefusedError(Exception):
    """The server will not answer this request, however often it is asked."""


class _TryAgainError(Exception):
    """It may answer later."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
        """Seconds that the server asks for."""


class ChatClient:
    """Calls to one server, or to several in turns. Used from one event loop alone."""

    def __init__(self, urls: Iterable[str], *, api_key: str | None, patience: float) -> None:
        """Make a client; nothing is sent.

        Args:
            urls: of the servers, with or without `/v1`.
            api_key: sent as a bearer token.
            patience: seconds for which a call is tried again.
        """
        roots = [url.rstrip("/").removesuffix("/v1") for url in urls]
        self._turns = itertools.cycle([f"{root}/v1/chat/completions" for root in roots])
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return a server's answer to one call; see `body`.

        Raises:
            RefusedError: the request is at fault.
            OvrlError: the server is gone, does not let us in, or answers with something else.
        """
        deadline = time.monotonic() + self._patience
        wait, jitter = _FIRST_WAIT, random.Random(payload.get("seed"))
        while True:
            url = next(self._turns)
            try:
                return await self._call(url, payload)
            except _TryAgainError as error:
                pause = error.wait if error.wait is not None else wait * jitter.uniform(0.5, 1.0)
                if time.monotonic() + pause > deadline:
                    raise OvrlError(
                        f"{url} gave no completion in {self._patience:g} s: {error}; the same command goes on"
                    ) from error
            await asyncio.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _call(self, url: str, payload: dict[str, Any]) -> dict[str, Any]:
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=_ANSWER, sock_connect=_CONNECT)
            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=limits, connector=aiohttp.TCPConnector(limit=0)
            )
        try:
            async with self._session.post(url, json=payload) as answer:
                text = await answer.text(errors="replace")
                status, retry_after = answer.status, answer.headers.get("Retry-After")
                found = await answer.json(content_type=None) if status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _TryAgainError(" ".join(str(error).split())[:_WORDS] or type(error).__name__) from error
        except ValueError as error:
            raise OvrlError(f"{url} answered with what is no JSON") from error
        words = f"{status}: {' '.join(text.split())[:_WORDS]}"
        if status in (408, 409, 425, 429) or status >= 500:
            raise _TryAgainError(words, _seconds(retry_after))
        if status in (401, 403):
            raise OvrlError(f"{url} does not let us in ({words}); set OPENAI_API_KEY")
        if status == 404:
            raise OvrlError(f"{url} knows no such model or address ({words})")
        if status != 200:
            raise RefusedError(f"the server answered {words}")
        if not isinstance(found, dict) or not found.get("choices"):
            raise OvrlError(f"{url} answered without a completion: {words}")
        return found


def body(request: Request, model: str) -> dict[str, Any]:
    """Return the call for completions of a request, but for the seed; its images are PNG in data URIs."""
    images, sampling = iter(request.prompt.images), request.sampling
    return {
        "model": model,
        "messages": [
            {"role": message["role"], "content": _content(message["content"], images)}
            for message in request.prompt.messages
        ],
        "n": 1,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
        **({"top_k": sampling.top_k} if sampling.top_k else {}),  # no field of OpenAI's; most others take it
        **({"stop": list(sampling.stop)} if sampling.stop else {}),
    }


def _content(parts: list[dict[str, Any]], images: Any) -> str | list[dict[str, Any]]:
    """Return the parts as they are sent; text alone as a string, which every server takes."""
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return [
        {"type": "text", "text": part["text"]}
        if part["type"] == "text"
        else {"type": "image_url", "image_url": {"url": to_data_uri(to_png(next(images)))}}
        for part in parts
    ]


def _seconds(retry_after: str | None) -> float | None:
    """Return how long a server asks us to wait: a number, or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
