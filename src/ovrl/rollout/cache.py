"""A key-value cache that grows in place.

transformers' dynamic cache copies everything for each token; half of a decode step on a CPU went there.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

_ROOM = 32
"""Tokens of room that a full buffer gains, at least; it gains a quarter of its length if that is more."""


class GrowingLayer(DynamicLayer):
    """A layer whose `keys` and `values` are views of buffers with room behind them."""

    _buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return keys and values, [b, heads, t, head size], with the new ones behind the old."""
        del args, kwargs
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        length = before + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < length:
            capacity = length + max(_ROOM, length // 4)
            self._buffers = (
                _grown(self.keys, key_states, capacity),
                _grown(self.values, value_states, capacity),
            )
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, before:length] = states
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows of `indices`, in that order; an index may be repeated."""
        super().batch_select_indices(indices)
        self._buffers = None


def _grown(old: Tensor | None, like: Tensor, capacity: int) -> Tensor:
    batch, heads, _, size = like.shape
    buffer = torch.empty(batch, heads, capacity, size, dtype=like.dtype, device=like.device)
    if old is not None and old.numel():
        buffer[:, :, : old.shape[-2]] = old
    return buffer


def growing_cache(config: PreTrainedConfig) -> DynamicCache:
    """Return an empty cache for a language model; layers with a window of their own keep their kind."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
