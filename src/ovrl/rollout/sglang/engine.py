"""The engine that samples with running SGLang servers.

    requests --pull--> groups, encoded once --> completions --> fleet --HTTP--> servers
                                                    ^                             |
                                                    +--- what a server has left --+

All talk with servers is on one event loop in a thread of its own. Who iterates pulls requests and encodes prompts;
he does so only while the servers have room, so that nothing waits here and grows old.
"""

import asyncio
import logging
import tempfile
import threading
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ovrl.errors import OvrlError, UsageError
from ovrl.rollout.engine import Generation, Refusal, Request, objection
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.client import Client
from ovrl.rollout.sglang.completion import Group, Sampler
from ovrl.rollout.sglang.control import Control, Limits
from ovrl.rollout.sglang.encoding import encode
from ovrl.rollout.sglang.fleet import Fleet, Weights
from ovrl.rollout.sglang.launch import Servers
from ovrl.rollout.sglang.probe import Probe
from ovrl.rollout.sglang.weights import WeightsFolder

if TYPE_CHECKING:
    from torch import Tensor

    from ovrl.rollout.settings import EngineSettings
    from ovrl.rollout.sglang.server import Server

log = logging.getLogger(__name__)

T = TypeVar("T")
_Task = asyncio.Task[Generation | Refusal | None]

_ASK_AGAIN_S = 0.02
"""Seconds until a source that had nothing to start is asked again, if nothing is finished before."""

_MOST_STOPS = 32
"""Stop strings that a server takes (`sampling/sampling_params.py`)."""


class SGLangEngine:
    """Samples with any number of servers.

    Which token follows is up to the server: the same seed gives the same tokens only where servers run with
    `--enable-deterministic-inference`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        processor: PromptProcessor,
        *,
        api_key: str | None = None,
        admin_key: str | None = None,
        weights_dir: Path = Path("/dev/shm"),
        limits: Limits | None = None,
        started: Servers | None = None,
    ) -> None:
        """Examine the servers and begin to look after them.

        Args:
            urls: of the servers; those that do not answer yet may join later.
            processor: of the model that they have.
            api_key: of ordinary routes.
            admin_key: of routes that control a server, if they have one of their own.
            weights_dir: where new weights are laid; every server must see it at the same path.
            limits: of what is waited for.
            started: servers that end with the engine.

        Raises:
            UsageError: a server cannot be trusted.
            OvrlError: none answers.
        """
        limits = limits or Limits()
        self.counts = Counter[str]()
        """What happened to servers and completions, for the summary of a run."""
        self.model = processor.name
        self._processor = processor
        self._folder = WeightsFolder(processor.config, weights_dir)
        self._jobs: set[_Job] = set()
        self._closed = False
        self._started = started
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sglang", daemon=True)
        self._thread.start()
        controls = [Control(Client(url, api_key=api_key, admin_key=admin_key), limits) for url in urls]
        model = Path(processor.name)
        path = model.resolve() if model.is_dir() else None
        self._fleet = Fleet(controls, Probe(processor), path, self.counts, limits)
        self._sampler = Sampler(self._fleet, processor, self.counts)
        try:
            self._run(self._fleet.start())
        except BaseException:
            self.close()
            raise

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._fleet.weights.version

    @property
    def servers(self) -> "Sequence[Server]":
        """What is known of each server."""
        return self._fleet.servers

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        """Yield the generations of each request; see `Engine.generate`."""
        source = iter(requests)
        job = _Job(self._sampler, self._loop)
        self._jobs.add(job)
        try:
            exhausted = False
            while True:
                self._check_open()
                idle = False
                while not exhausted and not idle and self._has_room(job):
                    request = next(source, _END)
                    if request is None:
                        idle = True
                    elif isinstance(request, _End):
                        exhausted = True
                    else:
                        yield from self._start(job, request)
                        self._check_open()
                if exhausted and not job.under_way:
                    return
                try:
                    made = job.take(_ASK_AGAIN_S if idle else None)
                except Empty:
                    continue
                self._check_open()
                if made is not None:
                    yield made
        finally:
            self._jobs.discard(job)
            if not self._closed:
                self._loop.call_soon_threadsafe(job.cancel)

    def pause(self) -> None:
        """Let no server sample; see `Engine.pause`."""
        self._run(self._fleet.pause())

    def resume(self) -> None:
        """Let them sample again."""
        self._run(self._fleet.resume())

    def load(self, weights: "Path | Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Give all servers new weights, each on its own; who cannot take them is put aside. See `Engine.load`."""
        if isinstance(weights, Path):
            self._folder.check(weights)
            path = weights.resolve()
        else:
            path = self._folder.write(weights, version)
        self._run(self._fleet.update(Weights(version, path)))
        self._folder.keep_only(path)

    def close(self) -> None:
        """Let go of the servers; they run on. Whoever generates gets an error."""
        if self._closed:
            return
        self._closed = True
        for job in list(self._jobs):
            job.done.put(OvrlError("the engine is closed"))
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.close()
        if self._started is not None:
            self._started.close()

    async def _shut(self) -> None:
        for job in list(self._jobs):
            job.cancel()
        await asyncio.sleep(0)
        await self._fleet.close()

    def _has_room(self, job: "_Job") -> bool:
        """Whether servers could be given more, and what is finished is being fetched."""
        room = self._fleet.room
        return sum(each.sampling for each in list(self._jobs)) < room > job.done.qsize()

    def _check_open(self) -> None:
        if self._closed:
            raise OvrlError("the engine is closed")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise OvrlError("the engine is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _start(self, job: "_Job", request: Request) -> Iterator[Refusal]:
        """Start all completions of a request; yield why not, if they cannot be asked for."""
        group = self._group(request)
        if isinstance(group, str):
            yield Refusal(request_id=request.id, reason=group)
        else:
            job.start(group)

    def _group(self, request: Request) -> Group | str:
        reason = objection(request)
        if reason is not None:
            return reason
        if len(request.sampling.stop) > _MOST_STOPS:
            return f"{len(request.sampling.stop)} stop strings are more than the {_MOST_STOPS} that a server takes"
        prompt = encode(self._processor, request.prompt)
        if isinstance(prompt, str):
            return prompt
        limit, context = request.sampling.max_new_tokens, self._processor.context
        if context is not None:
            if prompt.prompt_tokens >= context:
                return (
                    f"the prompt has {prompt.prompt_tokens} tokens, and the model's context {context}:"
                    " no room for a reply"
                )
            limit = min(limit, context - prompt.prompt_tokens)
        # The picture has been encoded: the decoded one need not be kept for as long as the completions take.
        return Group(replace(request, prompt=replace(request.prompt, images=())), prompt, limit)


class _End:
    """Comes after the last request."""


_END = _End()


class _Job:
    """One call of `generate`: what is under way, and what is finished and not yet yielded."""

    def __init__(self, sampler: Sampler, loop: asyncio.AbstractEventLoop) -> None:
        self._sampler = sampler
        self._loop = loop
        self._tasks: set[_Task] = set()
        self.under_way = 0
        """Completions that were started and not yet taken."""
        self.done = SimpleQueue[Generation | Refusal | BaseException | None]()

    @property
    def sampling(self) -> int:
        """Completions that are being made."""
        return self.under_way - self.done.qsize()

    def start(self, group: Group) -> None:
        """Begin all completions of a group."""
        self.under_way += len(group.request.seeds)
        self._loop.call_soon_threadsafe(self._spawn, group)

    def take(self, timeout: float | None) -> Generation | Refusal | None:
        """Return the next that is finished; None for a completion whose request was refused before.

        Raises:
            Empty: nothing is, within the time.
            OvrlError: there is no server left, or the engine was closed.
        """
        made = self.done.get(timeout=timeout)
        self.under_way -= 1
        if isinstance(made, BaseException):
            raise made
        return made

    def cancel(self) -> None:
        """Drop what is under way."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, group: Group) -> None:
        for k, seed in group.request.seeds.items():
            task = self._loop.create_task(self._sampler.complete(group, k, seed))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: "_Task") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self.done.put(task.exception() or task.result())


def load_engine(model: str, settings: "EngineSettings") -> SGLangEngine:
    """Return the engine for servers that run, or that are started here: `--engine sglang --server URL --launch N`.

    Raises:
        UsageError: there is no server, or one cannot be trusted.
        OvrlError: none answers, or one could not be started.
    """
    if not settings.servers and not settings.launch.servers:
        raise UsageError("--engine sglang needs servers: --server http://HOST:PORT[,...], or --launch N to start some")
    processor = PromptProcessor.load(model)
    started = _launch(model, settings) if settings.launch.servers else None
    return SGLangEngine(
        [*settings.servers, *(started.urls if started else [])],
        processor,
        api_key=None if settings.api_key is None else settings.api_key.get_secret_value(),
        admin_key=None if settings.admin_key is None else settings.admin_key.get_secret_value(),
        weights_dir=Path(settings.weights_dir),
        started=started,
    )


def _launch(model: str, settings: "EngineSettings") -> Servers:
    """Return servers that are ready."""
    has_gpu = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    dtype = settings.dtype if settings.dtype != "auto" else "bfloat16" if has_gpu else "float32"
    logs = Path(tempfile.mkdtemp(prefix="ovrl-sglang-"))
    log.info("starting %d SGLang servers; their logs are in %s", settings.launch.servers, logs)
    servers = Servers(model, settings.launch, device="cuda" if has_gpu else "cpu", dtype=dtype, logs=logs)
    servers.wait()
    return servers
