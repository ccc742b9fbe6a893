"""Checkpoints: Hugging Face directories with the trainer's state beside the weights, whole or absent.

checkpoints/step-000250/   model and processor, loadable by the Auto classes
    trainer.pt             optimizer and random generators
    progress.json          how far the journal was, and the sampler's state
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ovrl import store

_PROGRESS, _TRAINER = "progress.json", "trainer.pt"


class Keeper(Protocol):
    """What has a state to keep; a learner."""

    def save(self, path: Path) -> None:
        """Write the model as a directory."""
        ...

    def save_state(self, path: Path) -> None:
        """Write what is not in the model: optimizer, random generators."""
        ...

    def load_state(self, path: Path) -> None:
        """Read back what `save_state` wrote."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One complete checkpoint."""

    path: Path
    step: int
    """Optimizer steps that led to it; also its policy version."""

    def progress(self) -> dict[str, Any]:
        """Return what the loop saved."""
        return json.loads((self.path / _PROGRESS).read_text())

    def restore(self, learner: Keeper) -> None:
        """Give the learner its optimizer state back; its weights were loaded from `path`."""
        learner.load_state(self.path / _TRAINER)


def latest(run: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint of a run directory, or None."""
    found = _complete(run / "checkpoints")
    return found[-1] if found else None


def _complete(folder: Path) -> list[Checkpoint]:
    """Return the checkpoints of a folder, oldest first."""
    steps = {path.name.removeprefix("step-"): path for path in folder.glob("step-*")}
    points = [Checkpoint(path, int(step)) for step, path in steps.items() if step.isdigit()]
    return sorted(points, key=lambda point: point.step)


def save(run: Path, step: int, learner: Keeper, progress: dict[str, Any], *, keep: int) -> Checkpoint:
    """Write a checkpoint, rename it into place, and remove the oldest beyond `keep`."""
    folder = run / "checkpoints"
    folder.mkdir(exist_ok=True)
    for torn in folder.glob(".step-*"):  # left by a kill in the middle of this function
        shutil.rmtree(torn)
    path, temporary = folder / f"step-{step:06d}", folder / f".step-{step:06d}"
    learner.save(temporary)
    learner.save_state(temporary / _TRAINER)
    store.write_json(temporary / _PROGRESS, progress)
    store.sync(temporary)
    if path.exists():
        shutil.rmtree(path)
    temporary.rename(path)
    for old in _complete(folder)[:-keep]:
        shutil.rmtree(old.path)
    return Checkpoint(path, step)
