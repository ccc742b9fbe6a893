"""Rows that decode together: they enter when a slot is free, and leave when they are finished.

Axes: b rows, rounded up to a block; s steps made before the results are looked at; v words.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ovrl.rollout.engine import Sampling
from ovrl.rollout.policy import Policy
from ovrl.rollout.reading import read_on
from ovrl.rollout.row import Ending, Row
from ovrl.rollout.sampling import Drawn, draw, mask_banned
from ovrl.rollout.slots import Layers, Slots, rounded_rows

_STRIDE = {"cpu": 1}
"""Steps between two looks at the results, by device. A look makes a GPU wait; a step too many is thrown away."""
_STRIDE_ELSEWHERE = 8

_MARGIN = 1e-6
"""Probability by which a draw must be clear of the next word, on a CPU in float32, where sums formed in another order
differ by a tenth of that or less. A draw that is not clear costs a pass of its own: at most two in a million for each
word of the vocabulary, if all were equally likely."""


class Batch:
    """The rows, always in the first slots, and the tensors that the next step starts from."""

    def __init__(self, policy: Policy, banned: Tensor, ending: Ending, most: int) -> None:
        """Make an empty batch for at most `most` rows."""
        self.rows: list[Row] = []
        self._policy = policy
        self._banned = banned
        self._ending = ending
        self._stride = _STRIDE.get(policy.device.type, _STRIDE_ELSEWHERE)
        self._slots = Slots(most)
        size = rounded_rows(most)
        self._tokens = torch.zeros(size, 1, dtype=torch.long, device=policy.device)
        """[b, 1] sampled last, not read yet."""
        self._held = torch.zeros_like(self._tokens)
        """[b, 1] tokens that each row has read."""
        self._offsets = torch.zeros_like(self._tokens)
        dtype = policy.model.dtype
        exact = policy.device.type == "cpu" and dtype == torch.float32
        self._margin = _MARGIN if exact and self._stride == 1 else 0.0
        self._open = torch.zeros((), dtype=dtype, device=policy.device)
        self._shut = torch.full_like(self._open, torch.finfo(dtype).min)

    def enter(self, rows: Sequence[Row], version: int) -> list[Row]:
        """Draw the first token of completions of one prompt and take them in; return those that it ends."""
        sampling, prefix = rows[0].request.sampling, rows[0].prefix
        logits = mask_banned(prefix.logits, self._banned).expand(len(rows), -1)
        drawn = draw(logits, self._chance(rows, 1)[0], sampling)
        self._record(rows, _packed(drawn).unsqueeze(0), version)
        entering = [row for row in rows if row.finish_reason is None]
        if entering:
            self.place(entering, prefix.layers)
        return [row for row in rows if row.finish_reason is not None]

    def place(self, rows: Sequence[Row], layers: Layers) -> None:
        """Put rows of one prompt behind the others, with what the model has read of them, or of the prompt alone."""
        first, last = len(self.rows), len(self.rows) + len(rows)
        self._slots.write(first, last, layers)
        self._tokens[first:last, 0] = self._tensor([row.token_ids[-1] for row in rows])
        self._held[first:last, 0] = self._tensor([row.held for row in rows])
        self._offsets[first:last] = rows[0].prefix.offset
        self.rows += rows

    def clear(self) -> list[Row]:
        """Take all rows out and return them."""
        rows, self.rows = self.rows, []
        return rows

    def decode(self, sampling: Sampling, version: int) -> list[Row]:
        """Sample the next tokens of all rows; return the rows that are finished, which have left."""
        count = len(self.rows)
        steps = min(self._stride, max(row.limit - len(row.token_ids) for row in self.rows))
        size = rounded_rows(count)
        self._held[count:size] = 0  # what fills up the block reads and writes column 0
        chance = self._chance(self.rows, steps, size)
        longest = max(row.held for row in self.rows) + steps
        results: list[Tensor] = []
        for step in range(steps):
            logits = mask_banned(self._forward(size, longest), self._banned)
            drawn = draw(logits, chance[step], sampling, margin=self._margin)
            if self._margin:
                self._settle(drawn, chance[step], sampling)
            self._tokens[:size, 0] = drawn.ids
            self._held[:size] += 1
            results.append(_packed(drawn))
        self._record(self.rows, torch.stack(results), version)
        return self._leave()

    def _forward(self, size: int, longest: int) -> Tensor:
        """Read the last tokens and return the logits of the next, [b, v]."""
        held = self._held[:size]
        self._slots.aim(held[:, 0], longest)
        columns = torch.arange(self._slots.columns, device=held.device)
        mask = torch.where(columns <= held, self._open, self._shut)
        position = held + self._offsets[:size]
        out = cast(Any, self._policy.model)(
            input_ids=self._tokens[:size],
            attention_mask=mask[:, None, None],
            position_ids=position if self._policy.flat_positions else position.expand(3, -1, -1),
            past_key_values=self._slots.cache,
            use_cache=True,
        )
        return out.logits[:, -1]

    def _settle(self, drawn: Drawn, chance: Tensor, sampling: Sampling) -> None:
        """Draw again, from a pass of their own, the tokens that noise could have changed."""
        for i in (~drawn.sure[: len(self.rows)]).nonzero().flatten().tolist():
            row = self.rows[i]
            logits = read_on(self._policy, row.prefix, [row.token_ids])[1]
            again = draw(mask_banned(logits, self._banned), chance[i : i + 1], sampling)
            drawn.ids[i], drawn.logprobs[i] = again.ids[0], again.logprobs[0]
            drawn.sampling_logprobs[i] = again.sampling_logprobs[0]

    def _record(self, rows: Sequence[Row], results: Tensor, version: int) -> None:
        """Append to each row what was drawn, [s, 3, b]; here the device is waited for."""
        for ids, logprobs, sampling_logprobs in results.tolist():
            for row, token, logprob, sampling_logprob in zip(rows, ids, logprobs, sampling_logprobs, strict=False):
                row.add(int(token), logprob, sampling_logprob, version, self._ending)

    def _leave(self) -> list[Row]:
        """Take the finished rows out; rows from the end move into their slots."""
        finished = [row for row in self.rows if row.finish_reason is not None]
        if not finished:
            return finished
        kept = len(self.rows) - len(finished)
        targets = [i for i, row in enumerate(self.rows[:kept]) if row.finish_reason is not None]
        sources = [i for i, row in enumerate(self.rows) if i >= kept and row.finish_reason is None]
        self._slots.move(sources, targets)
        for state in (self._tokens, self._held, self._offsets):
            state[targets] = state[sources]
        for source, target in zip(sources, targets, strict=True):
            self.rows[target] = self.rows[source]
        del self.rows[kept:]
        return finished

    def _chance(self, rows: Sequence[Row], steps: int, size: int | None = None) -> Tensor:
        """Return [s, b] numbers to draw with."""
        found = np.zeros((steps, size or len(rows)))
        for i, row in enumerate(rows):
            found[:, i] = row.chances(steps)
        return torch.from_numpy(found).to(self._policy.device)

    def _tensor(self, values: list[int]) -> Tensor:
        return torch.tensor(values, device=self._policy.device)


def _packed(drawn: Drawn) -> Tensor:
    """Return ids and log-probabilities as one tensor, [3, b] float64, to fetch them at once."""
    return torch.stack([drawn.ids.double(), drawn.logprobs.double(), drawn.sampling_logprobs.double()])
