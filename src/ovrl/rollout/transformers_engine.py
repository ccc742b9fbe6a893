"""The in-process engine: batched sampling with transformers, on a CPU or one GPU.

A group's prompt and images are encoded once, and its cache is repeated for the group's completions.
Rows that have finished leave the batch.

Axes: b sequences that decode together, t tokens so far, v words.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from ovrl.rollout.cache import growing_cache
from ovrl.rollout.engine import Generation, Request, Sampling
from ovrl.rollout.policy import Policy
from ovrl.rollout.sampling import draw, mask_banned, uniforms
from ovrl.rollout.settings import EngineSettings

_COMPACT_BELOW = 0.8
"""Share of unfinished rows under which the batch is copied smaller: a copy costs about one decode step."""


@dataclass(slots=True)
class _Row:
    """One completion in the making."""

    request: Request
    k: int
    prompt_tokens: int
    chance: np.ndarray
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    stopped: bool = False


class TransformersEngine:
    """Samples with a policy in this process. The policy may be shared with a learner."""

    def __init__(self, policy: Policy, *, batch_size: int, version: int = 0) -> None:
        """Wrap a policy.

        Args:
            policy: the model; it is put into evaluation mode while it samples.
            batch_size: completions that decode together.
            version: the policy version that the weights are.
        """
        self.policy = policy
        self._batch_size = batch_size
        self._version = version
        self._banned = policy.banned()

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._version

    def generate(self, requests: Iterable[Request]) -> Iterator[Generation]:
        """Yield the generations of each request; see `Engine.generate`."""
        for batch in self._batches(requests):
            yield from self._sample(batch)

    def load(self, weights: Path | Iterable[tuple[str, Tensor]], version: int) -> None:
        """Take new weights; tensors that are ours already are not copied."""
        named = Policy.load(str(weights)).model.state_dict().items() if isinstance(weights, Path) else weights
        own = self.policy.model.state_dict()
        with torch.no_grad():
            for name, tensor in named:
                if own[name].data_ptr() != tensor.data_ptr():
                    own[name].copy_(tensor)
        self._version = version

    def close(self) -> None:
        """Nothing is held beyond the policy."""

    def _batches(self, requests: Iterable[Request]) -> Iterator[list[Request]]:
        """Yield requests whose completions fill a batch together; a group is never split."""
        batch: list[Request] = []
        rows = 0
        for request in requests:
            if batch and (rows + len(request.seeds) > self._batch_size or request.sampling != batch[0].sampling):
                yield batch
                batch, rows = [], 0
            batch.append(request)
            rows += len(request.seeds)
        if batch:
            yield batch

    @torch.inference_mode()
    def _sample(self, requests: list[Request]) -> list[Generation]:
        training = self.policy.model.training
        self.policy.model.eval()
        try:
            rows = self._decode(requests)
        finally:
            self.policy.model.train(training)
        return [self._generation(row) for row in rows]

    def _decode(self, requests: list[Request]) -> list[_Row]:
        sampling = requests[0].sampling
        encoded = self.policy.encode([request.prompt for request in requests])
        positions, offsets = self.policy.positions(encoded.input_ids, encoded.attention_mask, encoded.extras)
        cache = growing_cache(self.policy.model.config.get_text_config())
        out = cast(Any, self.policy.model)(
            input_ids=encoded.input_ids,
            attention_mask=encoded.attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **encoded.extras,
        )
        rows = [
            _Row(request, k, length, uniforms(seed, sampling.max_new_tokens))
            for request, length in zip(requests, encoded.lengths, strict=True)
            for k, seed in request.seeds.items()
        ]
        source = [i for i, request in enumerate(requests) for _ in request.seeds]
        index = torch.tensor(source, device=self.policy.device)
        cache.batch_select_indices(index)
        state = _Batch(rows, cache, encoded.attention_mask[index], offsets[index], out.logits[index, -1])
        for step in range(sampling.max_new_tokens):
            state = self._step(state, step, sampling)
            if not state.rows:
                break
        return rows

    def _step(self, state: "_Batch", step: int, sampling: Sampling) -> "_Batch":
        """Draw one token for each row, drop finished rows now and then, and read the next logits."""
        chance = torch.tensor(np.array([row.chance[step] for row in state.rows]), device=self.policy.device)
        ids, logprobs = draw(mask_banned(state.logits, self._banned), chance, sampling)
        for row, token, logprob in zip(state.rows, ids.tolist(), logprobs.tolist(), strict=True):
            if not row.stopped:
                row.token_ids.append(token)
                row.logprobs.append(logprob)
                row.stopped = token in self.policy.eos_ids
        alive = [i for i, row in enumerate(state.rows) if not row.stopped]
        if not alive or step + 1 == sampling.max_new_tokens:
            return state.empty()
        if len(alive) < _COMPACT_BELOW * len(state.rows):
            index = torch.tensor(alive, device=self.policy.device)
            state, ids = state.select(alive, index), ids[index]
        mask = torch.cat([state.mask, state.mask.new_ones(len(state.rows), 1)], dim=1)
        # The new token is already counted in the mask; it stands where the row had ended before it.
        position = mask.sum(dim=1, keepdim=True) - 1 + state.offsets
        out = cast(Any, self.policy.model)(
            input_ids=ids.unsqueeze(1),
            attention_mask=mask,
            position_ids=position if self.policy.flat_positions else position.expand(3, -1, -1),
            past_key_values=state.cache,
            use_cache=True,
        )
        return _Batch(state.rows, state.cache, mask, state.offsets, out.logits[:, -1])

    def _generation(self, row: _Row) -> Generation:
        ids = row.token_ids
        return Generation(
            request_id=row.request.id,
            k=row.k,
            text=self.policy.tokenizer.decode(ids, skip_special_tokens=True),
            token_ids=tuple(ids),
            logprobs=tuple(row.logprobs),
            versions=(self._version,) * len(ids),
            finish_reason="stop" if row.stopped else "length",
            prompt_tokens=row.prompt_tokens,
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that decode together, and what the model knows of them."""

    rows: list[_Row]
    cache: DynamicCache
    mask: Tensor
    """[b, t] 0 on the padding before a prompt."""
    offsets: Tensor
    """[b, 1] what to add to a row's length to get the position of its next token."""
    logits: Tensor
    """[b, v] of the next token."""

    def select(self, kept: list[int], index: Tensor) -> "_Batch":
        """Return the batch of some rows; the cache is cut in place."""
        self.cache.batch_select_indices(index)
        rows = [self.rows[i] for i in kept]
        return _Batch(rows, self.cache, self.mask[index], self.offsets[index], self.logits[index])

    def empty(self) -> "_Batch":
        """Return a batch without rows."""
        return _Batch([], self.cache, self.mask[:0], self.offsets[:0], self.logits[:0])


def load_engine(model: str, settings: EngineSettings) -> TransformersEngine:
    """Return the engine for a model directory or hub id.

    Raises:
        UsageError: the model cannot be loaded.
    """
    policy = Policy.load(model, device=settings.device, dtype=settings.dtype)
    return TransformersEngine(policy, batch_size=settings.batch_size)
