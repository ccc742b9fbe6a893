"""A server that speaks SGLang's HTTP, with the scripted model and faults on demand. For tests and dry runs.

It listens on a real socket and does what was seen of sglang 0.5.23 on a live server, the traps included: ids whose
image tokens are expanded hang, an id outside of the vocabulary ends the server, surplus images are dropped, the cache
of images survives updates, and `/health` answers 503 during a pause. The same contract test is asked of both.
"""

import asyncio
import base64
import binascii
import hashlib
import io
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import orjson
from aiohttp import web
from PIL import Image

from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.prompt import Prompt
from ovrl.rollout.sglang.scripted_answers import describe
from ovrl.rollout.sglang.scripted_model import Vocabulary, fingerprint
from ovrl.rollout.sglang.scripted_scheduler import Asked, Scheduler
from ovrl.rollout.sglang.scripted_traits import Kind, Traits

_PARAMETERS = frozenset(
    """max_new_tokens stop stop_token_ids stop_regex temperature top_p top_k min_p frequency_penalty presence_penalty
    repetition_penalty min_new_tokens n json_schema regex ebnf structural_tag ignore_eos skip_special_tokens
    spaces_between_special_tokens no_stop_trim stream_interval logit_bias sampling_seed custom_params""".split()  # noqa: SIM905
)
_FREE = frozenset({"/generate", "/model_info", "/server_info", "/v1/loads"})
"""Routes that take the ordinary key; the others control the server."""

_OPEN = frozenset({"/health", "/ready"})
_SESSIONS = (0, 5, 21)
"""The version that brought them."""


class ScriptedServer:
    """One server, in a thread of its own."""

    def __init__(
        self,
        model: Path,
        processor: PromptProcessor,
        traits: Traits | None = None,
        *,
        script: Callable[[int], Kind | None] = lambda number: None,
        step: Callable[[], Awaitable[None]] | None = None,
        port: int = 0,
    ) -> None:
        """Describe the server; `start` starts it.

        Args:
            model: directory of the weights that it has when it starts.
            processor: of the model.
            traits: what kind of server it is.
            script: what the nth request of a completion meets, counted from 0 over restarts.
            step: awaited before each token.
            port: 0 takes a free one.
        """
        self.traits = traits or Traits()
        self.port = port
        self.counts = Counter[str]()
        """Calls of each route, and faults that were met."""
        self._model, self._processor, self._script = model, processor, script
        self._words = Vocabulary.of(processor)
        self._step = step or (lambda: asyncio.sleep(0))
        self.most_waiting = 0
        """Requests that waited at once, at most, while as many ran as can."""
        self.seeds: list[int] = []
        """Of all requests of completions."""
        self._asked = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-server", daemon=True)
        self._image_tokens: dict[str, int] = {}

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "ScriptedServer":
        """Listen."""
        if not self._thread.is_alive():
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def kill(self) -> None:
        """Break all connections and listen no more, as kill -9 does; `start` brings it back as it was at first."""
        asyncio.run_coroutine_threadsafe(self._die(), self._loop).result()

    def stop(self) -> None:
        """End it for good."""
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        t = self.traits
        self.scheduler = Scheduler(
            self._words, fingerprint(self._model), most=t.most, step=self._step, caches_images=t.caches_images
        )
        self._stepping = self._loop.create_task(self.scheduler.run())
        self._unpaused = asyncio.Event()
        self._unpaused.set()
        self._paused_at: float | None = None
        self._session = False
        app = web.Application(client_max_size=1 << 30, middlewares=[self._guard])
        for path, handler in self._routes().items():
            app.router.add_route("*", path, handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = cast(Any, site)._server.sockets[0].getsockname()[1]

    def _routes(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {
            "/generate": self._generate,
            "/pause_generation": self._pause,
            "/continue_generation": self._resume,
            "/abort_request": self._abort,
            "/flush_cache": self._flush,
            "/update_weights_from_disk": self._update_from_disk,
            "/update_weight_version": self._stamp,
            "/weights_checker": self._check_weights,
            "/model_info": self._tell_model,
            "/server_info": self._tell_server,
            "/v1/loads": self._tell_load,
            "/ready": self._tell_ready,
            "/health": self._tell_health,
        }

    async def _die(self) -> None:
        if self._runner.server is None:
            return
        self._stepping.cancel()
        for site in list(self._runner.sites):
            await site.stop()
        for connection in list(cast(Any, self._runner.server).connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._runner.cleanup()

    async def _come_back(self, after_s: float) -> None:
        await self._die()
        await asyncio.sleep(after_s)
        await self._listen()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Ask for keys as sglang does: a control route takes its own key alone, if there is one."""
        path, t = request.path, self.traits
        self.counts[path] += 1
        wanted = t.admin_key if path not in _FREE and t.admin_key else t.api_key
        if wanted and path not in _OPEN and request.headers.get("Authorization") != f"Bearer {wanted}":
            return _json({"error": "Unauthorized"}, 401)
        return await handler(request)

    # What is asked of a model

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        parameters = body["sampling_params"]
        if self.traits.mute:
            await asyncio.Event().wait()
        known = _PARAMETERS if self.traits.interval else _PARAMETERS - {"stream_interval"}
        if unknown := sorted(set(parameters) - known):
            return _json({"error": {"message": f"unknown sampling parameters {unknown}"}}, 400)
        fault: Kind | None = None
        if not str(body.get("rid", "")).startswith("ovrl-probe-"):
            self.seeds.append(int(parameters.get("sampling_seed") or 0))
            fault = self._script(self._asked)
            self._asked += 1
            if fault is not None:
                self.counts[f"fault {fault}"] += 1
        if any(not 0 <= index < self._words.size for index in body["input_ids"]):
            fault = "die"  # an index out of range, on the device
        if (met := await self._meet(fault)) is not None:
            return met
        asked = await self._read(body)
        if asked is None:
            await asyncio.Event().wait()  # expanded ids: an executor thread died, and nobody says so
            raise AssertionError
        await self._unpaused.wait()
        self.scheduler.submit(asked)
        self.most_waiting = max(
            self.most_waiting, len(self.scheduler.waiting) - (self.traits.most - len(self.scheduler.running))
        )
        try:
            return await self._answer(request, asked, body, fault)
        finally:
            self.scheduler.abort(asked.rid)

    async def _meet(self, fault: Kind | None) -> web.StreamResponse | None:
        """Let a request meet what happens before it is read."""
        if fault in ("die", "restart"):
            self._loop.create_task(self._come_back(self.traits.away_s if fault == "die" else 0))
            await asyncio.Event().wait()
        elif fault == "hang":
            await asyncio.Event().wait()
        elif fault == "500":
            return _json({"error": {"message": "Internal Server Error"}}, 500)
        elif fault == "garbage":
            return web.Response(body=b"data: <html>what?</html>\n\n")
        elif fault == "slow":
            await asyncio.sleep(self.traits.late_s)
        return None

    async def _read(self, body: Mapping[str, Any]) -> Asked | None:
        """Return the request as the scheduler takes it; None if its image tokens are expanded."""
        ids, images = list(body["input_ids"]), [_bytes(text) for text in body.get("image_data") or ()]
        image_id = self._processor.image_id
        places = ids.count(image_id)
        if images and places > len(images):
            return None
        if self.traits.tokenizes_again:
            ids = self._processor.tokenizer(self._processor.tokenizer.decode(ids))["input_ids"]
        images = images[:places]  # more than there are places for: dropped without a word
        contents = [hashlib.sha256(data).hexdigest() for data in images]
        names: list[str] = list(body.get("mm_hashes") or contents)
        tokens = [self._tokens_of(content, data) for content, data in zip(contents, images, strict=True)]
        p = dict(body["sampling_params"])
        p["banned"] = frozenset(int(index) for index, value in (p.get("logit_bias") or {}).items() if value < -1e6)
        p["stop"] = p.get("stop") or []
        p["stop_token_ids"] = frozenset(p.get("stop_token_ids") or ())
        p["stream_interval"] = p.get("stream_interval") or 1
        p["sampling_seed"] = p.get("sampling_seed") or 0
        return Asked(
            str(body["rid"]),
            ids,
            list(zip(contents, names, strict=True)),
            len(ids) + sum(tokens) - len(tokens) + self.traits.miscounts * len(tokens),
            p,
        )

    def _tokens_of(self, content: str, data: bytes) -> int:
        if content not in self._image_tokens:
            image = Image.open(io.BytesIO(data)).convert("RGB")
            message: dict[str, Any] = {"role": "user", "content": [{"type": "image"}]}
            read: Any = self._processor.process([Prompt([message], (image,))])["input_ids"]
            self._image_tokens[content] = read[0].tolist().count(self._processor.image_id)
        return self._image_tokens[content]

    async def _answer(
        self, request: web.Request, asked: Asked, body: Mapping[str, Any], fault: Kind | None
    ) -> web.StreamResponse:
        stream = None
        if body.get("stream"):
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
        events = 0
        while asked.finish is None:
            await asked.changed.wait()
            asked.changed.clear()
            if fault == "cut" and events:
                break
            if fault == "abort":
                self.scheduler.abort(asked.rid)
            if stream is not None and asked.finish is None:
                await stream.write(b"data: " + orjson.dumps(self._tell(asked, body, fault)) + b"\n\n")
                events += 1
        if fault == "cut" and request.transport is not None:
            cast(Any, request.transport).abort()
            return stream or web.Response()
        described = self._tell(asked, body, fault)
        if stream is None:
            return _json(described)
        await stream.write(b"data: " + orjson.dumps(described) + b"\n\ndata: [DONE]\n\n")
        return stream

    def _tell(self, asked: Asked, body: Mapping[str, Any], fault: Kind | None) -> dict[str, Any]:
        """Return the answer as it stands."""
        text = self._words.decode(asked.output_ids)
        return describe(asked, body, self.scheduler.label, self.traits, text, fault)

    # What controls the server

    async def _pause(self, request: web.Request) -> web.Response:
        mode = (await _body(request)).get("mode", "abort")
        self.counts[f"pause {mode}"] += 1
        self._unpaused.clear()
        self._paused_at = self._paused_at or time.monotonic()
        self.scheduler.pause(mode)
        return _json({"status": "ok", "message": "Generation paused successfully."})

    async def _resume(self, request: web.Request) -> web.Response:
        del request
        self._paused_at = None
        self._unpaused.set()
        self.scheduler.resume()
        return _json({"status": "ok", "message": "Generation continued successfully."})

    async def _abort(self, request: web.Request) -> web.Response:
        body = await _body(request)
        self.scheduler.abort(None if body.get("abort_all") else str(body.get("rid")))
        return web.Response()

    async def _flush(self, request: web.Request) -> web.Response:
        del request
        return web.Response(status=200 if self.scheduler.flush() else 400, text="Cache flushed.")

    async def _update_from_disk(self, request: web.Request) -> web.Response:
        body = await _body(request)
        await self._until_idle()
        try:
            if not self.traits.reads_disk:
                raise FileNotFoundError(f"no directory {body['model_path']}")
            weights = fingerprint(Path(body["model_path"])) + "spoilt" * self.traits.spoils_weights
        except OSError as error:
            return _json({"success": False, "message": str(error)}, 400)
        self.scheduler.update(weights, body.get("weight_version"), flush=body.get("flush_cache", True))
        return _json({"success": True, "message": "Succeeded to update model weights.", "num_paused_requests": 0})

    async def _stamp(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if body.get("abort_all_requests", True):
            self.scheduler.abort(None)
        self.scheduler.relabel(body["new_version"])
        return _json({"success": True, "message": "ok", "new_version": body["new_version"]})

    async def _check_weights(self, request: web.Request) -> web.Response:
        del request
        weights = self.scheduler.weights
        return _json({"success": True, "message": "ok", "ranks": [{"checksums": {}}], "per_engine_checksum": weights})

    async def _until_idle(self) -> None:
        """Wait for the writer's lock: without a pause, for every request under way."""
        while not self.scheduler.paused and (self.scheduler.running or self.scheduler.waiting):
            await asyncio.sleep(0.001)

    # What tells of the server

    async def _tell_model(self, request: web.Request) -> web.Response:
        del request
        kind = self.traits.model_type or self._processor.config.model_type
        return _json(
            {
                "model_path": str(self._model),
                "is_generation": True,
                "weight_version": self.scheduler.label,
                "has_image_understanding": self._processor.image_id is not None,
                "model_type": kind,
            }
        )

    async def _tell_server(self, request: web.Request) -> web.Response:
        del request
        return _json({"version": self.traits.version, "status": "ready", "incremental_streaming_output": False})

    async def _tell_load(self, request: web.Request) -> web.Response:
        del request
        s = self.scheduler
        rank = {
            "dp_rank": 0,
            "num_running_reqs": len(s.running),
            "num_waiting_reqs": len(s.waiting),
            "max_running_requests": self.traits.most,
        }
        return _json({"loads": [rank]})

    async def _tell_ready(self, request: web.Request) -> web.Response:
        del request
        return web.Response()

    async def _tell_health(self, request: web.Request) -> web.Response:
        del request
        return web.Response(status=503 if self._paused_at is not None else 200)


async def _body(request: web.Request) -> dict[str, Any]:
    data = await request.read()
    return orjson.loads(data) if data else {}


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except binascii.Error as error:
        raise web.HTTPBadRequest(text=f"image: {error}") from error
