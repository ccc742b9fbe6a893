"""Where the parts of a model are: what sees, what maps into the language model, what reads.

A family is listed here if an image is nothing but features in place of its image tokens. Then the images of a group
can be seen once and their features used for every completion. Other families (some hand features to deeper layers
as well) are called as a whole.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ovrl.rollout.policy import Policy


@dataclass(frozen=True, slots=True)
class _Family:
    tower: str
    decoder: str


_QWEN = _Family("model.visual", "model.language_model")
_FAMILIES = {"qwen2_vl": _QWEN, "qwen2_5_vl": _QWEN, "llavaonevision1_5": _Family("visual", "model")}
"""Paths of the modules, by `model_type`."""

_TOWERS = ("visual", "vision_tower", "vision_model")
_PROJECTORS = ("merger", "multi_modal_projector", "connector")


def tower(model: nn.Module) -> nn.Module | None:
    """Return the vision tower of any family, its projector included where it stands inside; None: there is none."""
    return _find(model, _TOWERS)


def projector(model: nn.Module) -> nn.Module | None:
    """Return what maps image features into the language model; None: there is none."""
    seen = tower(model)
    return (_find(seen, _PROJECTORS) if seen is not None else None) or _find(model, _PROJECTORS)


def _find(model: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    owners = (model, getattr(model, "model", None))
    return next((part for owner in owners for name in names if (part := getattr(owner, name, None)) is not None), None)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The parts of a model whose images can be seen apart from its text."""

    tower: Any
    words: Any
    """The embedding of words."""
    decoder: Any
    head: Any
    """Maps to the logits."""
    image_token: int

    @staticmethod
    def of(model: Any) -> "Anatomy | None":
        """Return the parts; None for a family that is not known to take features in place of tokens."""
        family = _FAMILIES.get(model.config.model_type)
        if family is None:
            return None
        return Anatomy(
            model.get_submodule(family.tower),
            model.get_input_embeddings(),
            model.get_submodule(family.decoder),
            model.get_output_embeddings(),
            model.config.image_token_id,
        )

    def see(self, images: dict[str, Tensor]) -> Tensor:
        """Return the features of images, one after the other, [tokens, width].

        Args:
            images: `pixel_values` and `image_grid_thw`.
        """
        # Families differ in the name of the second argument and in what they wrap the features with.
        seen = self.tower(images["pixel_values"].to(self.tower.dtype), images["image_grid_thw"])
        return seen if isinstance(seen, Tensor) else seen.pooler_output


def blank_image(policy: Policy) -> dict[str, Tensor]:
    """Return the smallest image that the processor makes, as the model takes it; on the CPU.

    Ranks without images run the tower on it: where parameters or gradients are shared out, all ranks must call the
    same modules.
    """
    from PIL import Image

    processor: Any = getattr(policy.processor, "image_processor", None)
    if processor is None:
        return {}
    made = dict(processor(images=[Image.new("RGB", (8, 8))], return_tensors="pt"))
    return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}
