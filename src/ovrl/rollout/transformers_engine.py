"""The in-process engine: continuous batching with transformers models, on a CPU or one GPU.

    requests --pull--> groups waiting, by length --read once--> prefix --enter--> rows that decode together
                                                                 ^                  |           |
                                                                 +---- new weights -+        finished

A group's prompt and images are read once and copied into the slots of its completions; a finished completion leaves
its slot to the next one waiting.

transformers has continuous batching, too (`ContinuousBatchingManager`, looked at in 5.23), but not for this: it takes
token ids only, without images, counts positions in one dimension, draws with one global generator, so that a completion
depends on its neighbours, and returns one log-probability. What is here needs the model's ordinary forward pass alone.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from ovrl.errors import UsageError
from ovrl.rollout import reading
from ovrl.rollout.batch import Batch
from ovrl.rollout.engine import Engine, Generation, Refusal, Request, objection
from ovrl.rollout.engine_process import EngineProcess
from ovrl.rollout.gate import Gate
from ovrl.rollout.policy import Encoded, Policy
from ovrl.rollout.reading import Prefix
from ovrl.rollout.row import Ending, Row
from ovrl.rollout.sampling import uniforms
from ovrl.rollout.settings import EngineSettings
from ovrl.rollout.source import Source

_WINDOW = 16
"""Prompts that wait together and are sorted by length, at most: they hold their images in memory."""


class TransformersEngine:
    """Samples with a policy in this process. The policy may be shared with a learner.

    What holds of a completion's independence: on a CPU in float32 its tokens are the same for any neighbours, batch
    size and order. `slots` keeps shapes and the order of sums fixed, so that with one thread most machines give the
    same bits. What noise is left (the place of a row decides which thread adds up) is harmless: a token that
    it could change is drawn from a pass of its own (`batch`). On a GPU and in bfloat16 the noise is too large
    for that: log-probabilities agree within it, and tokens often.
    """

    def __init__(self, policy: Policy, *, batch_size: int, version: int = 0) -> None:
        """Wrap a policy.

        Args:
            policy: the model; it is put into evaluation mode while it samples.
            batch_size: completions that decode together.
            version: the policy version that the weights are.

        Raises:
            UsageError: the model's layers keep something else than keys and values.
        """
        reading.check(policy)
        self.policy = policy
        self._batch_size = batch_size
        self._version = version
        self._gate = Gate()

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._version

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        """Yield the generations of each request; see `Engine.generate`."""
        source = Source(requests)
        job = _Job(self.policy, self._batch_size)
        while True:
            yield from job.pull(source)
            if not job.busy:
                if source.ended:
                    return
                continue
            with self._gate.step(), torch.inference_mode(), _evaluating(self.policy):
                finished = job.step(self._version)
            yield from finished

    def pause(self) -> None:
        """Let no step follow the one under way; see `Engine.pause`."""
        self._gate.pause()

    def resume(self) -> None:
        """Let steps follow again."""
        self._gate.resume()

    def load(self, weights: Path | Iterable[tuple[str, Tensor]], version: int) -> None:
        """Take new weights between two steps; tensors that are ours already are not copied. See `Engine.load`."""
        if isinstance(weights, Path):
            weights = Policy.load(str(weights), device="cpu").model.state_dict().items()
        given, own = dict(weights), self.policy.model.state_dict()
        _compare(given, own)
        with self._gate.held(), torch.no_grad():
            for name, tensor in given.items():
                if own[name].data_ptr() != tensor.data_ptr():
                    own[name].copy_(tensor)
            self._version = version

    def close(self) -> None:
        """Stop whoever generates; the policy stays as it is, for it may be a learner's."""
        self._gate.close()


@dataclass(slots=True)
class _Group:
    """A request whose completions have not all entered the batch."""

    request: Request
    prompt_tokens: int
    left: list[tuple[int, int]]
    """(number, seed) of each completion that is still to enter."""
    encoded: Encoded | None
    prefix: Prefix | None = None
    """What one version of the weights made of the prompt, from the first completion's entry on."""


class _Job:
    """One call of `generate`: what waits, what decodes."""

    def __init__(self, policy: Policy, batch_size: int) -> None:
        self._policy = policy
        self._batch_size = batch_size
        ending = Ending(policy.tokenizer, policy.eos_ids)
        self._batch = Batch(policy, policy.banned(), ending, batch_size)
        self._waiting: deque[_Group] = deque()
        self._version: int | None = None

    @property
    def busy(self) -> bool:
        """Whether anything waits or decodes."""
        return bool(self._waiting or self._batch.rows)

    @property
    def _room(self) -> int:
        return self._batch_size - len(self._batch.rows)

    def pull(self, source: Source) -> Iterator[Refusal]:
        """Take requests in when there is room and nothing waits: as many as fill a batch; yield those refused.

        Neighbours in length decode together, because all rows pay for the longest. Those that are drawn from
        the same distribution come in a row, because a batch has but one.
        """
        if self._waiting or not self._room:
            return
        window: list[_Group] = []
        while sum(len(group.left) for group in window) < self._batch_size and len(window) < _WINDOW:
            request = source.pull()
            if request is None:
                break
            group = self._prepared(request)
            if isinstance(group, Refusal):
                yield group
            elif group.left:
                window.append(group)
        window.sort(key=lambda group: (group.request.sampling.distribution, -group.prompt_tokens))
        self._waiting.extend(window)

    def step(self, version: int) -> list[Generation]:
        """Let groups enter, sample the next tokens, and return what is finished."""
        if version != self._version:
            self._read_again(version)
            self._version = version
        finished: list[Row] = []
        while self._waiting and self._room and self._fits(self._waiting[0]):
            finished += self._enter(self._waiting[0], version)
            if not self._waiting[0].left:
                self._waiting.popleft()
        if self._batch.rows:
            finished += self._batch.decode(self._batch.rows[0].request.sampling, version)
        return [row.generation(self._policy.tokenizer) for row in finished]

    def _fits(self, group: _Group) -> bool:
        rows = self._batch.rows
        return not rows or rows[0].request.sampling.distribution == group.request.sampling.distribution

    def _prepared(self, request: Request) -> _Group | Refusal:
        """Return the request with its prompt as tensors, or why it cannot be answered."""
        reason = objection(request)
        if reason is not None:
            return Refusal(request_id=request.id, reason=reason)
        encoded = self._policy.encode([request.prompt])
        tokens, context = encoded.input_ids.shape[1], self._policy.context
        if context is not None and tokens >= context:
            reason = f"the prompt has {tokens} tokens, and the model's context {context}: no room for a reply"
            return Refusal(request_id=request.id, reason=reason)
        return _Group(request, tokens, list(request.seeds.items()), encoded)

    def _enter(self, group: _Group, version: int) -> list[Row]:
        """Let as many completions of the group enter as there is room for; return those that end at once."""
        if group.prefix is None:
            group.prefix = self._read(group.request, group.encoded)
            group.encoded = None
        entering, group.left = group.left[: self._room], group.left[self._room :]
        limit = group.request.sampling.max_new_tokens
        if self._policy.context is not None:
            limit = min(limit, self._policy.context - group.prompt_tokens)
        rows = [Row(group.request, k, group.prefix, limit, uniforms(seed, limit)) for k, seed in entering]
        return self._batch.enter(rows, version)

    def _read(self, request: Request, encoded: Encoded | None = None) -> Prefix:
        return reading.read(self._policy, encoded or self._policy.encode([request.prompt]))

    def _read_again(self, version: int) -> None:
        """Bring everything that was read up to new weights: images and prompts once a group, then the replies."""
        rows = sorted(self._batch.clear(), key=lambda row: id(row.request))
        for group in self._waiting:
            group.prefix = None
        for _, part in groupby(rows, key=lambda row: id(row.request)):
            members = list(part)
            prefix = self._read(members[0].request)
            for row in members:
                row.prefix = prefix
            replies = [row.token_ids[:-1] for row in members]
            self._batch.place(
                members, reading.read_on(self._policy, prefix, replies)[0] if any(replies) else prefix.layers
            )


@contextmanager
def _evaluating(policy: Policy) -> Generator[None]:
    """Put the model into evaluation mode, and back."""
    training = policy.model.training
    if training:
        policy.model.eval()
    try:
        yield
    finally:
        if training:
            policy.model.train()


def _compare(given: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Refuse weights that are not this model's: nothing may be missing, left over or of another shape."""
    faults = [f"{name} is unknown" for name in given.keys() - own.keys()]
    faults += [
        f"{name} has the shape {tuple(given[name].shape)} and not {tuple(own[name].shape)}"
        for name in given.keys() & own.keys()
        if given[name].shape != own[name].shape
    ]
    come = {own[name].data_ptr() for name in given.keys() & own.keys()}  # tied weights may come once
    faults += [f"{name} is missing" for name in own.keys() - given.keys() if own[name].data_ptr() not in come]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise UsageError(f"these weights are not this model's: {'; '.join(sorted(faults)[:3])}{more}")


def in_process(model: str, settings: EngineSettings) -> TransformersEngine:
    """Return the engine for a model directory or hub id, in this process.

    Raises:
        UsageError: the model cannot be loaded.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    policy = Policy.load(model, device=settings.device, dtype=settings.dtype)
    return TransformersEngine(policy, batch_size=settings.batch_size)


def load_engine(model: str, settings: EngineSettings) -> Engine:
    """Return the engine that the settings ask for: in this process, or in processes of its own.

    Raises:
        UsageError: the model cannot be loaded.
    """
    return EngineProcess(model, settings) if settings.processes else in_process(model, settings)
