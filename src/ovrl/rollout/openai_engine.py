"""Models behind an API: any endpoint that speaks OpenAI's chat completions, such as vLLM, SGLang, or a paid service.

Each completion is a call of its own, with its seed. What comes back is text: no token ids, no log-probabilities, no
versions, so that such completions can be scored and curated, and not trained on.

https://platform.openai.com/docs/api-reference/chat/create
"""

import asyncio
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrl.errors import OvrlError, UsageError
from ovrl.records import FinishReason
from ovrl.rollout.chat_client import ChatClient, RefusedError, body
from ovrl.rollout.engine import Generation, Refusal, Request, objection
from ovrl.rollout.source import Source

if TYPE_CHECKING:
    from torch import Tensor

    from ovrl.rollout.settings import EngineSettings

_POLL = 0.02
"""Seconds after which a source that had nothing to start is asked again."""

_ENDS: dict[str | None, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "abort"}


@dataclass(slots=True)
class _Asked:
    """A request, encoded once for all its completions."""

    request: Request
    body: dict[str, Any]
    is_refused: bool = False


_Call = tuple[_Asked, int]
"""A request, and the number of one of its completions."""


class OpenAIEngine:
    """Asks servers for completions, many at once."""

    def __init__(
        self,
        model: str,
        servers: Iterable[str],
        *,
        api_key: str | None = None,
        concurrency: int,
        patience: float = 600.0,
    ) -> None:
        """Make the engine; nothing is asked yet.

        Args:
            model: its name at the servers.
            servers: URLs, with or without the `/v1` at the end; they take turns.
            api_key: what they ask for.
            concurrency: calls under way at once.
            patience: seconds for which a call is tried again before the servers count as gone.
        """
        self._model = model
        self._concurrency = concurrency
        self._client = ChatClient(servers, api_key=api_key, patience=patience)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="ovrl-api", daemon=True).start()
        self._open = threading.Event()
        self._open.set()
        self._calls: set[Future[Any]] = set()
        self._under_way = 0
        self._idle = threading.Condition()
        self._is_closed = False

    @property
    def version(self) -> int:
        """A model behind an API has none."""
        return 0

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        """Yield the generations of each request; see `Engine.generate`.

        Raises:
            OvrlError: the servers are gone, or do not let us in.
        """
        self._check_open()
        source, waiting = Source(requests), iter(())
        came: queue.SimpleQueue[tuple[_Call, Future[Any]]] = queue.SimpleQueue()
        calls: set[Future[Any]] = set()
        try:
            while True:
                while len(calls) < self._concurrency:
                    if (call := next(waiting, None)) is not None:
                        if not call[0].is_refused:
                            calls.add(self._ask(call, came))
                    elif (request := source.pull()) is None:
                        break
                    elif reason := objection(request):
                        yield Refusal(request_id=request.id, reason=reason)
                    else:
                        asked = _Asked(request, body(request, self._model))
                        waiting = iter([(asked, k) for k in request.seeds])
                if not calls:
                    if source.ended:
                        return
                    continue
                can_pull = len(calls) < self._concurrency and not source.ended
                with suppress(queue.Empty):
                    call, future = came.get(timeout=_POLL if can_pull else None)
                    calls.discard(future)
                    self._check_open()
                    if not call[0].is_refused:
                        yield self._answer(call, future)
        finally:
            for future in calls:
                future.cancel()

    def pause(self) -> None:
        """Ask for nothing more until `resume`; waits for what was asked."""
        self._open.clear()
        with self._idle:
            self._idle.wait_for(lambda: not self._under_way or self._is_closed)

    def resume(self) -> None:
        """Ask again."""
        self._open.set()

    def load(self, weights: "Path | Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Refuse: the model is not ours.

        Raises:
            UsageError: always.
        """
        del weights, version
        raise UsageError("the weights of a model behind an API cannot be changed; train with --engine hf or sglang")

    def close(self) -> None:
        """Drop what is under way; whoever generates gets an error."""
        if self._is_closed:
            return
        self._is_closed = True
        with self._idle:
            self._idle.notify_all()
        for future in list(self._calls):
            future.cancel()
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _ask(self, call: _Call, came: "queue.SimpleQueue[tuple[_Call, Future[Any]]]") -> "Future[Any]":
        """Start a call; when it is done it is put into the queue."""
        asked, k = call
        payload = asked.body | {"seed": asked.request.seeds[k]}
        future = asyncio.run_coroutine_threadsafe(self._complete(payload), self._loop)
        self._calls.add(future)

        def done(future: "Future[Any]") -> None:
            self._calls.discard(future)
            came.put((call, future))

        future.add_done_callback(done)
        return future

    async def _complete(self, payload: dict[str, Any]) -> dict[str, Any]:
        while not self._open.is_set():
            await asyncio.sleep(_POLL)
        with self._idle:
            self._under_way += 1
        try:
            return await self._client.complete(payload)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def _answer(self, call: _Call, future: "Future[Any]") -> Generation | Refusal:
        (asked, k), request = call, call[0].request
        try:
            answer = future.result()
        except RefusedError as error:
            asked.is_refused = True
            return Refusal(request_id=request.id, reason=str(error))
        except CancelledError as error:
            raise OvrlError("the engine is closed") from error
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        return Generation(
            request_id=request.id,
            k=k,
            text=choice["message"].get("content") or "",
            token_ids=(),
            logprobs=(),
            sampling_logprobs=(),
            versions=(),
            finish_reason=_ENDS.get(choice.get("finish_reason"), "error"),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            untold_tokens=int(usage.get("completion_tokens") or 0),
        )

    def _check_open(self) -> None:
        if self._is_closed:
            raise OvrlError("the engine is closed")


def load_engine(model: str, settings: "EngineSettings") -> OpenAIEngine:
    """Return the engine of the settings' servers: `--engine openai --server URL --model NAME`.

    Raises:
        UsageError: no server is given.
    """
    if not settings.servers:
        raise UsageError("--engine openai needs a server; give --server URL, such as http://localhost:8000/v1")
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return OpenAIEngine(model, settings.servers, api_key=key, concurrency=settings.batch_size)
