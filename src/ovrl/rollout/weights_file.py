"""Weights on their way to another process: a file that has no name, and is gone with its last user."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ovrl.rollout.engine_messages import Weights

if TYPE_CHECKING:
    from torch import Tensor

_MEMORY = Path("/dev/shm")
_SPARE = 1.25
"""How much more room than the weights need must be there."""


class WeightsFile:
    """One version of the policy, for as long as children may have to read it."""

    def __init__(self, place: Weights | None, version: int, file: IO[bytes] | None = None) -> None:
        """Say where it is.

        Args:
            place: where children read it; None is what they start with.
            version: of the policy.
            file: held open; with it, the weights go.
        """
        self.place = place
        self.version = version
        self._file = file

    def close(self) -> None:
        """Let the weights go; a model directory stays where it is."""
        if self._file is not None:
            self._file.close()


def write(weights: "Path | Iterable[tuple[str, Tensor]]", version: int, folder: Path | None) -> WeightsFile:
    """Return weights that another process can read: a model directory as it is, tensors in a file.

    Args:
        weights: a model directory, or tensors by name. Of tied ones, one is written.
        version: of the policy.
        folder: where the file is; by default in memory if there is room, else where temporary files go.
    """
    if isinstance(weights, Path):
        return WeightsFile(Weights(weights.absolute(), version), version)
    from safetensors.torch import save_file  # a parent that hands directories over needs no torch

    tensors: dict[str, Tensor] = {}
    places = set[tuple[int, tuple[int, ...]]]()
    for name, tensor in weights:
        place = tensor.data_ptr(), tuple(tensor.shape)
        if not tensor.numel() or place not in places:
            places.add(place)
            tensors[name] = tensor.detach().cpu().contiguous()
    size = sum(tensor.nbytes for tensor in tensors.values())
    with tempfile.TemporaryDirectory(prefix="ovrl-weights-", dir=folder or _roomy(size)) as place:
        written = Path(place) / "weights.safetensors"
        save_file(tensors, written)
        file = written.open("rb")  # the name goes now, and the file when nobody reads it: killed or not
    return WeightsFile(Weights(Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"), version), version, file)


def _roomy(size: int) -> Path | None:
    """Return the folder in memory if the weights fit, else None: the one for temporary files."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _SPARE * size else None
