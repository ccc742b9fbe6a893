"""The weights of a policy by their names in a Hugging Face directory, wherever their parts are.

ZeRO-3 shares each tensor out among the ranks, so all of them go through the tensors together, in one order. LoRA
leaves the tensors as they were and puts a product beside them, which is added in on the way out.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ovrl.rollout.policy import Policy
from ovrl.train.adapter import Adapter


class Weights:
    """What an engine loads and a directory holds."""

    def __init__(self, policy: Policy, adapter: Adapter | None, *, sharded: bool) -> None:
        """Look at a policy's model.

        Args:
            policy: as it is trained.
            adapter: beside its layers; None: the layers themselves are trained.
            sharded: every rank holds a part of each tensor.
        """
        self.adapter = adapter
        self.sharded = sharded
        self._policy = policy
        layers = dict(adapter.layers()) if adapter is not None else {}
        self._layers = {f"{name}.base_layer.weight": layer for name, layer in layers.items()}

    @property
    def in_place(self) -> bool:
        """Whether the model holds them, under these names."""
        return not self.sharded and self.adapter is None

    def lead(self, *, adapter: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor with its name; the other ranks `follow` meanwhile. Even if nobody wants the rest.

        Args:
            adapter: those of the adapter by themselves, and not the model's.
        """
        if self.in_place:
            yield from self._policy.model.state_dict().items()
            return
        tensors = self._adapters() if adapter else self._merged()
        try:
            yield from tensors
        finally:
            for _ in tensors:  # a rank that waits here waits for all of them
                pass

    def follow(self, *, adapter: bool = False) -> None:
        """Take part in what rank 0 does in `lead`."""
        for _ in self._adapters() if adapter else self._merged():
            pass

    def save(self, path: Path, values: dict[str, Tensor], adapter: dict[str, Tensor]) -> None:
        """Write a Hugging Face directory; the adapter goes to `adapter/` in it.

        Args:
            path: made if absent.
            values: what `lead` yielded.
            adapter: the same of the adapter.
        """
        cast(Any, self._policy.model).save_pretrained(path, state_dict=values)
        self._policy.processor.save_pretrained(path)
        if self.adapter is not None:
            self.adapter.save(path / "adapter", adapter)

    def _merged(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in self._policy.model.named_parameters():
            layer = self._layers.get(name)
            if ".lora_" in name:
                continue
            beside = [] if layer is None else [part.weight for part in Adapter.parts(layer)]
            with self._whole([weight, *beside]):
                value = weight.data if layer is None else Adapter.merged(layer)
                yield name.replace(".base_layer.", "."), value.clone() if self.sharded else value

    def _adapters(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in self.adapter.state().items() if self.adapter is not None else ():
            with self._whole([weight]):
                yield name, weight.detach().clone()

    def _whole(self, weights: list[Any]) -> AbstractContextManager[None]:
        """Return a context in which tensors that are shared out are whole."""
        if not self.sharded:
            return nullcontext()
        from deepspeed import zero

        return cast(Any, zero).GatheredParameters(weights)
