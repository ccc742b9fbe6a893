"""New weights as a directory that servers read, and whether they are the model's at all.

A server skips a name that it does not know and calls that a success. So names and shapes are compared here, with those
of the model's own class, and tensors are written under the names of its released files, as servers expect them.
"""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedConfig
from transformers.core_model_loading import revert_weight_conversion

from ovrl.errors import UsageError


class WeightsFolder:
    """Where weights wait for servers, those of one version at a time. Makes its folder when it is first needed."""

    def __init__(self, config: PreTrainedConfig, parent: Path) -> None:
        """Know the model; nothing is written.

        Args:
            config: of the model.
            parent: a folder that all servers see at the same path; memory, if they run on this machine.
        """
        self._config = config
        self._parent = parent
        self._folder: Path | None = None
        self._before: Path | None = None

    @cached_property
    def _model(self) -> Any:
        """A model of names and shapes, without numbers."""
        with torch.device("meta"):
            return cast(Any, AutoModelForImageTextToText).from_config(self._config)

    def write(self, weights: Iterable[tuple[str, Tensor]], version: int) -> Path:
        """Write tensors, by the names of `state_dict`, as a Hugging Face directory and return it.

        Raises:
            UsageError: they are not this model's, or there is no place for them.
        """
        given = dict(weights)
        compare(
            {name: tuple(tensor.shape) for name, tensor in given.items()},
            {name: tuple(tensor.shape) for name, tensor in self._model.state_dict().items()},
            tied=self._tied(),
        )
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="ovrl-weights-", dir=self._parent))
            torn, path = self._folder / "torn", self._folder / f"version-{version}"
            for old in (torn, path):
                shutil.rmtree(old, ignore_errors=True)
            self._model.save_pretrained(torn, state_dict={n: t for n, t in given.items() if n not in self._tied()})
            torn.rename(path)
        except OSError as error:
            raise UsageError(
                f"weights cannot be written into {self._parent}: {error}; set rollout.engine.weights_dir"
            ) from error
        return path

    def check(self, path: Path) -> None:
        """Return if the directory holds this model's weights.

        Raises:
            UsageError: it does not.
        """
        found: dict[str, tuple[int, ...]] = {}
        try:
            config = orjson.loads((path / "config.json").read_bytes())
            for file in sorted(path.glob("*.safetensors")):
                with cast(Any, safe_open)(file, framework="pt") as opened:
                    found |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        except (OSError, orjson.JSONDecodeError, SafetensorError) as error:
            raise UsageError(f"{path} holds no weights that can be read: {error}") from error
        if config.get("model_type") != self._config.model_type:
            raise UsageError(
                f"these weights are not this model's: {path} holds a {config.get('model_type')!r}, and not a "
                f"{self._config.model_type!r}"
            )
        own = {name: tuple(each.shape) for name, each in self.released(self._model.state_dict()).items()}
        compare(found, own, tied=self._tied())

    def keep_only(self, path: Path) -> None:
        """Remove what was written before `path`: servers that join later are given that."""
        if self._before is not None and self._before != path and self._before.parent == self._folder:
            shutil.rmtree(self._before, ignore_errors=True)
        self._before = path

    def close(self) -> None:
        """Remove everything."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _tied(self) -> frozenset[str]:
        """Return names that may be missing, since other tensors are the same."""
        if not self._config.tie_word_embeddings:
            return frozenset()
        return frozenset(cast(Mapping[str, str], self._model.all_tied_weights_keys or {}))

    def released(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors by the names that released files have, and servers expect, for those of `state_dict`."""
        return revert_weight_conversion(self._model, dict(weights))


def compare(
    given: Mapping[str, tuple[int, ...]], own: Mapping[str, tuple[int, ...]], *, tied: Iterable[str] = ()
) -> None:
    """Return if nothing is missing, left over or of another shape.

    Raises:
        UsageError: naming the first three differences.
    """
    faults = [f"{name} is unknown" for name in given.keys() - own.keys()]
    faults += [
        f"{name} has the shape {given[name]} and not {own[name]}"
        for name in given.keys() & own.keys()
        if given[name] != own[name]
    ]
    faults += [f"{name} is missing" for name in own.keys() - given.keys() - set(tied)]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise UsageError(f"these weights are not this model's: {'; '.join(sorted(faults)[:3])}{more}")
