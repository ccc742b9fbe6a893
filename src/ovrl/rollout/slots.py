"""Keys and values of the rows that decode together: each row in a slot of its own, from the slot's beginning.

    slot 0  |prompt.......|reply....|         |
    slot 1  |prompt...|reply............|     |     <- columns in use, a multiple of _COLUMNS
    slot 2  |prompt..........|reply.|         |

A row enters and leaves without moving the others. It starts at column 0 whatever is beside it, and the columns that
are read are a multiple of a vector's width, so that sums over its tokens are formed in the same order for any
neighbours. transformers' own caches append one column for all rows, and copy everything for each.

Axes: r slots, h heads, c columns, d size of a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_COLUMNS = 32
_ROWS = 16

Layers = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [rows, h, columns, d]."""


def rounded_rows(count: int) -> int:
    """Return how many rows are computed for `count` of them.

    Matrix products of a few rows use other kernels, whose sums differ in the last bit: with a multiple of
    this size, a row comes out the same whatever their number.
    """
    return -(-count // _ROWS) * _ROWS


def rounded_columns(count: int) -> int:
    """Return how many columns are read for `count` tokens."""
    return -(-count // _COLUMNS) * _COLUMNS


class _SlotLayer(DynamicLayer):
    """The slots of one layer."""

    def __init__(self, slots: "Slots", like: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self._slots = slots
        self.buffers = [_grown(states[:0, :, :0], (0, 0)) for states in like]
        """Keys and values, [r, h, c, d]."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write one token for each row at its own place; return what the rows may read, [rows, h, columns, d]."""
        del args, kwargs
        slots, (keys, values) = self._slots, self.buffers
        keys[slots.rows, :, slots.places] = key_states.squeeze(2)
        values[slots.rows, :, slots.places] = value_states.squeeze(2)
        count = len(slots.rows)
        return keys[:count, :, : slots.columns], values[:count, :, : slots.columns]

    def get_seq_length(self) -> int:
        """Return how many columns stand before the token that is being read."""
        return self._slots.columns - 1


class Slots:
    """The slots of all layers, which grow in both directions as they are needed."""

    def __init__(self, most: int) -> None:
        """Make the slots; there will never be more than `most` rows, rounded up."""
        self._most = rounded_rows(most)
        self._layers: list[_SlotLayer] = []
        self._size = (0, 0)
        """Rows and columns of the buffers."""
        self.cache = Cache(layers=[])
        """What the model takes as `past_key_values`."""
        self.rows = torch.empty(0, dtype=torch.long)
        """[r] 0, 1, 2, ... for the rows of the next step."""
        self.places = self.rows
        """[r] the column that each row's next token takes."""
        self.columns = 0
        """Columns that the next step reads."""

    def write(self, first: int, last: int, layers: Layers) -> None:
        """Fill the slots from `first` up to `last`, from column 0 on; a single row goes to all of them."""
        if not self._layers:
            self._layers = [_SlotLayer(self, pair) for pair in layers]
            self.cache = Cache(layers=list(self._layers))
        columns = layers[0][0].shape[2]
        self._reserve(last, columns)
        self.columns = max(self.columns, rounded_columns(columns))
        for layer, pair in zip(self._layers, layers, strict=True):
            for buffer, states in zip(layer.buffers, pair, strict=True):
                buffer[first:last, :, :columns] = states

    def move(self, sources: list[int], targets: list[int]) -> None:
        """Copy slots onto others; no slot is both."""
        if not sources:
            return
        for layer in self._layers:
            for buffer in layer.buffers:
                part = buffer[:, :, : self.columns]
                part[targets] = part[sources]

    def aim(self, places: Tensor, longest: int) -> None:
        """Say where the next step writes.

        Args:
            places: [r] columns, one for each row; r is a multiple of the row block.
            longest: columns that must be readable; at least the largest place and one more.
        """
        self._reserve(len(places), longest)
        if len(self.rows) != len(places):
            self.rows = torch.arange(len(places), device=places.device)
        self.places = places
        self.columns = rounded_columns(longest)

    def _reserve(self, rows: int, columns: int) -> None:
        """Make room: twice the rows or a quarter more columns at least, for growing copies everything."""
        have_rows, have_columns = self._size
        if rows <= have_rows and columns <= have_columns:
            return
        more_rows, more_columns = have_rows, have_columns
        if rows > have_rows:
            more_rows = max(rounded_rows(rows), min(2 * have_rows, self._most))
        if columns > have_columns:
            more_columns = rounded_columns(max(columns, have_columns * 5 // 4))
        self._size = (more_rows, more_columns)
        for layer in self._layers:
            layer.buffers = [_grown(buffer, self._size) for buffer in layer.buffers]


def _grown(old: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a larger buffer, zeroed: what is masked is multiplied by 0, and 0 times NaN is not 0."""
    buffer = old.new_zeros(size[0], old.shape[1], size[1], old.shape[3])
    buffer[: old.shape[0], :, : old.shape[2]] = old
    return buffer
