"""What a resumed run needs beyond the weights: optimizer, adapter and random generators."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ovrl.errors import UsageError
from ovrl.train.adapter import Adapter
from ovrl.train.ranks import Ranks


class TrainerState:
    """A file; under DeepSpeed a directory, in which each rank has its part."""

    def __init__(self, ranks: Ranks, model: Any, optimizer: Any, adapter: Adapter | None) -> None:
        """Look at what is trained.

        Args:
            ranks: the processes.
            model: as accelerate has prepared it.
            optimizer: the same.
            adapter: beside the layers; None: the layers themselves are trained.
        """
        self._ranks = ranks
        self._model = model
        self._optimizer = optimizer
        self._adapter = adapter

    def save(self, path: Path) -> None:
        """Write it: all ranks under DeepSpeed, else rank 0 alone."""
        state: dict[str, Any] = {
            "ranks": self._ranks.count,
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        }
        if self._ranks.zero:
            self._model.save_checkpoint(str(path), tag=f"zero{self._ranks.zero}", client_state={"ovrl": state})
            return
        state["optimizer"] = self._optimizer.state_dict()
        if self._adapter is not None:
            state["adapter"] = {name: value.detach().cpu() for name, value in self._adapter.state().items()}
        torch.save(state, path)

    def load(self, path: Path) -> None:
        """Read it back, on every rank.

        Raises:
            UsageError: other ranks have written it, or it was written without DeepSpeed and these have it, or the
                other way round.
        """
        if self._ranks.zero:
            self._ranks.together(lambda: self._check_shards(path))
            _, client = self._model.load_checkpoint(str(path), tag=f"zero{self._ranks.zero}")
            state = client["ovrl"]
        elif path.is_dir():
            raise UsageError(f"{path} was written with DeepSpeed; go on with DeepSpeed, too")
        else:
            state = torch.load(path, weights_only=False, map_location="cpu")
            self._optimizer.load_state_dict(state["optimizer"])
            with torch.no_grad():
                for name, weight in self._adapter.state().items() if self._adapter is not None else ():
                    weight.copy_(state["adapter"][name])
        torch.set_rng_state(state["torch_rng"])
        np.random.set_state(state["numpy_rng"])
        random.setstate(state["python_rng"])

    def _check_shards(self, path: Path) -> None:
        """Refuse a state that other ranks have written: each has its part."""
        stage, count = self._ranks.zero, self._ranks.count
        if not path.is_dir():
            raise UsageError(f"{path} was written without DeepSpeed; go on without it, too")
        parts = len(list((path / f"zero{stage}").glob("*optim_states.pt")))
        if parts != count:
            raise UsageError(
                f"{path} holds the parts of {parts} ranks with ZeRO-{stage}, and these are {count}; "
                "go on with as many, and with the same stage"
            )
