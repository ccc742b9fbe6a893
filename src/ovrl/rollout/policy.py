"""A vision-language model and its processor, as sampling and training both need them.

Any model that the Auto classes load as image-text-to-text will do. What differs between families (how
positions are counted around images) is told apart here and nowhere else.

Axes: b sequences, t tokens.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin
from transformers.utils import logging as transformers_logging

from ovrl.rollout import models
from ovrl.rollout.processor import PromptProcessor, loading
from ovrl.rollout.prompt import Prompt

transformers_logging.disable_progress_bar()

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Prompts as tensors, left-padded so that they end together."""

    input_ids: Tensor
    """[b, t] image tokens expanded."""
    attention_mask: Tensor
    """[b, t] 0 on padding."""
    extras: dict[str, Tensor]
    """What the processor adds for images (`pixel_values`, `image_grid_thw`, ...)."""

    image_counts: list[int]
    """Images of each prompt."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt, padding left out."""
        return [int(count) for count in self.attention_mask.sum(dim=1)]

    def repeat(self, index: Sequence[int]) -> "Encoded":
        """Return the rows of `index`, which may name a row several times, with their images."""
        rows = torch.tensor(index, device=self.input_ids.device)
        return Encoded(
            self.input_ids[rows],
            self.attention_mask[rows],
            {name: self._repeated(name, value, index, rows) for name, value in self.extras.items()},
            [self.image_counts[i] for i in index],
        )

    def _repeated(self, name: str, value: Tensor, index: Sequence[int], rows: Tensor) -> Tensor:
        if value.shape == self.input_ids.shape:  # one entry for each token
            return value[rows]
        sizes = self.image_counts  # one entry for each image
        if name == "pixel_values" and len(value) != sum(sizes):  # one entry for each patch
            patches = self.extras["image_grid_thw"].prod(dim=1).tolist()
            starts = [sum(sizes[:i]) for i in range(len(sizes))]
            sizes = [sum(patches[start : start + n]) for start, n in zip(starts, sizes, strict=True)]
        parts = value.split(sizes)
        return torch.cat([parts[i] for i in index])


class Policy(PromptProcessor):
    """A model with its processor."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, name: str) -> None:
        super().__init__(processor, model.config, cast(Any, model).generation_config, name)
        self.model = model
        self._positions_of = getattr(getattr(model, "model", model), "get_rope_index", None)
        self.flat_positions = self._positions_of is None
        """Whether a token has one position, and not one for each of time, height and width."""

    @staticmethod
    def load(name: str, *, device: str = "auto", dtype: str = "auto") -> "Policy":
        """Return the policy of a model directory or hub id.

        Args:
            name: a directory, or a hub id that the local cache (or the network) holds.
            device: auto, cpu or cuda.
            dtype: auto, float32 or bfloat16.

        Raises:
            UsageError: nothing can be loaded from there.
        """
        place = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
        kind = _DTYPES[dtype if dtype != "auto" else "bfloat16" if place == "cuda" else "float32"]
        with loading(name):
            model, processor = models.load(name, kind)
        model.eval()
        return Policy(cast(Any, model).to(place), processor, name)

    def save(self, path: Path) -> None:
        """Write model and processor as a Hugging Face directory."""
        self.model.save_pretrained(path)
        self.processor.save_pretrained(path)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def encode(self, prompts: Sequence[Prompt]) -> Encoded:
        """Return the prompts as tensors on the model's device, ready for a reply to follow."""
        inputs: Any = self.process(prompts).to(self.device)
        ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask")
        return Encoded(ids, mask, dict(inputs), [len(prompt.images) for prompt in prompts])

    def positions(self, ids: Tensor, mask: Tensor, extras: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the positions of every token, and what to add to count the tokens that follow.

        Args:
            ids: [b, t] token ids.
            mask: [b, t] 0 on padding.
            extras: what the processor added.

        Returns:
            positions, [b, t] or [3, b, t] for models that place image tokens on a grid; and offsets,
            [b, 1]: the next token of a row stands at (tokens so far) + offset.
        """
        if self._positions_of is None:
            plain = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
            return plain, torch.zeros(len(ids), 1, dtype=torch.long, device=ids.device)
        accepted = inspect.signature(self._positions_of).parameters
        given = {name: value for name, value in extras.items() if name in accepted}
        if "mm_token_type_ids" in accepted:
            given.setdefault("mm_token_type_ids", torch.zeros_like(ids, dtype=torch.int))
        if "image_grid_thw" not in given:  # text alone: some families then ignore the padding
            plain = (mask.long().cumsum(dim=1) - 1).clamp(min=0).expand(3, -1, -1)
            return plain, torch.zeros(len(ids), 1, dtype=torch.long, device=ids.device)
        return self._positions_of(ids, attention_mask=mask, **given)

    def banned(self) -> Tensor:
        """Return [v], True on the words of `banned_ids`, on the model's device."""
        mask = torch.zeros(self.vocabulary, dtype=torch.bool, device=self.device)
        mask[self.banned_ids()] = True
        return mask
