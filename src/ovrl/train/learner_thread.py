"""Runs the learner in a thread of its own, so that the event loop goes on while weights move."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ovrl.rollout import prompt
from ovrl.rollout.engine import Engine
from ovrl.rollout.prompt import Prompt
from ovrl.train import checkpoint
from ovrl.train.checkpoint import Keeper
from ovrl.train.settings import TrainSettings
from ovrl.train.trajectory import Group

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

Credit = Sequence[Sequence[Any]]
"""[group][completion][token] advantages."""


class Learner(Keeper, Protocol):
    """What the loop needs of a learner."""

    def step(self, items: Any, number: int) -> dict[str, Any]:
        """Make the update of a step."""
        ...

    def weights(self) -> "Iterable[tuple[str, Tensor]]":
        """Return the weights as an engine loads them."""
        ...


class Method(Protocol):
    """What the loop needs of a recipe."""

    def credit(self, groups: Sequence[Group], number: int) -> Credit:
        """Return the advantages of a step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as JSON values."""
        ...


class LearnerThread:
    """A `loop.Trainer`: learner, method and engine, on the learner's side."""

    def __init__(
        self,
        learner: Learner,
        engine: Engine,
        run: Path,
        settings: TrainSettings,
        *,
        method: Method,
        items: Callable[[Sequence[Group], Sequence[Prompt], Credit], Any],
    ) -> None:
        """Take a learner over.

        Args:
            learner: moves the weights.
            engine: is given the weights.
            run: the run directory.
            settings: sizes, and how many checkpoints are kept.
            method: gives advantages.
            items: makes what the learner trains of groups, prompts and advantages.
        """
        self._learner = learner
        self._engine = engine
        self._run = run
        self._settings = settings
        self._method = method
        self._items = items
        self._thread = ThreadPoolExecutor(1, "ovrl-learner")

    async def step(self, groups: Sequence[Group], number: int) -> dict[str, Any]:
        """Make the update of a step."""
        return await self._in_thread(self._step, groups, number)

    def _step(self, groups: Sequence[Group], number: int) -> dict[str, Any]:
        size = self._settings.batch.max_pixels
        prompts = [prompt.build(group.sample, max_pixels=size) for group in groups]
        return self._learner.step(self._items(groups, prompts, self._method.credit(groups, number)), number)

    async def publish(self, version: int) -> None:
        """Give the engine the weights."""
        await self._in_thread(lambda: self._engine.load(iter(self._learner.weights()), version))

    async def save(self, version: int, progress: dict[str, Any]) -> None:
        """Write a checkpoint."""
        await self._in_thread(self._save, version, progress)

    def _save(self, version: int, progress: dict[str, Any]) -> None:
        state = {**progress, "recipe": self._method.state_dict()}
        checkpoint.save(self._run, version, self._learner, state, keep=self._settings.keep_checkpoints)

    async def snapshot(self, path: Path) -> None:
        """Write the model alone, as a directory."""
        await self._in_thread(self._learner.save, path)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
