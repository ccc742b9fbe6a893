"""LoRA through peft: small matrices beside the language model's, that are trained in their place (arXiv:2106.09685)."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ovrl.errors import UsageError
from ovrl.rollout.anatomy import Anatomy
from ovrl.rollout.policy import Policy

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

_NAME = "default"
"""peft's name of an adapter that nobody named."""


class Adapter:
    """What is trained of a model that is frozen otherwise. The model changes in place: its layers get neighbours."""

    def __init__(self, policy: Policy, rank: int, alpha: float) -> None:
        """Put an adapter beside every linear layer of the language model.

        Args:
            policy: its model is changed.
            rank: of the matrices.
            alpha: their product counts alpha / rank times.

        Raises:
            UsageError: the model has no language model that ovrl knows.
        """
        import peft  # takes seconds, and few runs want it

        anatomy = Anatomy.of(policy.model)
        if anatomy is None:
            raise UsageError(f"train.learner.lora_rank: not for models of type {policy.model.config.model_type}")
        inside = {id(layer) for layer in anatomy.decoder.modules() if isinstance(layer, nn.Linear)}
        names = [name for name, layer in policy.model.named_modules() if id(layer) in inside]
        config = peft.LoraConfig(r=rank, lora_alpha=cast(Any, alpha), target_modules=names, lora_dropout=0.0)
        # One of the matrices starts at random: the same on every rank. peft asks for an old name of transformers.
        with torch.random.fork_rng(), warnings.catch_warnings(category=FutureWarning, action="ignore"):
            torch.manual_seed(0)
            self._model: Any = peft.get_peft_model(cast(Any, policy.model), config)

    def disabled(self) -> AbstractContextManager[None]:
        """Return a context in which the model is what it was."""
        return self._model.disable_adapter()

    def layers(self) -> "Iterator[tuple[str, LoraLayer]]":
        """Yield the layers that have neighbours, with their names in the model as it was."""
        from peft.tuners.lora import LoraLayer

        for name, layer in self._model.base_model.model.named_modules():
            if isinstance(layer, LoraLayer):
                yield name, layer

    @staticmethod
    def merged(layer: "LoraLayer") -> Tensor:
        """Return the weight of a layer with its neighbours added in."""
        known = cast(Any, layer)
        return known.base_layer.weight.data + known.get_delta_weight(_NAME).to(known.base_layer.weight.dtype)

    @staticmethod
    def parts(layer: "LoraLayer") -> list[nn.Linear]:
        """Return the two matrices beside a layer."""
        known = cast(Any, layer)
        return [known.lora_A[_NAME], known.lora_B[_NAME]]

    def state(self) -> dict[str, nn.Parameter]:
        """Return what is trained, by peft's names."""
        return {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}

    def save(self, path: Path, values: dict[str, Tensor]) -> None:
        """Write the adapter as peft reads it.

        Args:
            path: the directory.
            values: the tensors of `state`.
        """
        self._model.save_pretrained(path, state_dict=values)
