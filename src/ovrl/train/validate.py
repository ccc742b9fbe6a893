"""Validation while a run goes on: `ovrl eval` in a process of its own, on a snapshot. No engine stops for it.

RUN/validation/step-000050/    what `ovrl eval -o` writes; the snapshot is removed when it has been measured
RUN/validation.jsonl           {"step": 50, "accuracy": ...} for each
"""

import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml
from pydantic import PositiveInt

from ovrl import store
from ovrl.errors import UsageError
from ovrl.settings import Settings
from ovrl.train.settings import TrainSettings

log = logging.getLogger(__name__)

Snapshot = Callable[[Path], Awaitable[None]]
"""Writes the weights as they are now into a directory."""


class ValidateSettings(Settings):
    """Validation during `ovrl train`; nothing that the run learns depends on it."""

    samples: Path | None = None
    """A file of held-out samples; None: no validation."""
    every: PositiveInt = 50
    """Steps from one to the next."""
    n: PositiveInt = 1
    """Completions for each sample."""

    def check(self) -> None:
        """Raise before any work when the samples are not there.

        Raises:
            UsageError: naming the file.
        """
        if self.samples is not None and not self.samples.exists():
            raise UsageError(f"validate.samples: {self.samples} does not exist")


class Validation:
    """Measures snapshots of a run, one after the other."""

    def __init__(self, run: Path, settings: ValidateSettings, train: TrainSettings, *, stage: int, seed: int) -> None:
        """Prepare; nothing is done before `after` says so.

        Args:
            run: the run directory.
            settings: what is measured and when.
            train: says how completions are scored, how long they may be and where they are made.
            stage: 1 asks for the answer alone, 2 for a chain of thought.
            seed: of the run.
        """
        self._run = run
        self._settings = settings
        self._eval = {
            "n": settings.n,
            "sampling": {"max_new_tokens": train.sampling.max_new_tokens},
            "score": train.score.model_dump(mode="json"),
            "engine": {"device": train.learner.device},
        }
        self._arguments = ["--mode", "fast" if stage == 1 else "thinking", "--seed", str(seed)]
        self._task: asyncio.Task[None] | None = None

    async def after(self, version: int, snapshot: Snapshot) -> None:
        """Start the validation of a version if it is due; one that comes too soon waits for the one before.

        Args:
            version: of the weights as they are now.
            snapshot: writes them.
        """
        folder = self._run / "validation" / f"step-{version:06d}"
        if self._settings.samples is None or version % self._settings.every or (folder / store.SUCCESS).exists():
            return
        model = folder.with_name(f".{folder.name}")
        shutil.rmtree(model, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        await snapshot(model)
        self._task = asyncio.create_task(self._measure(version, model, folder, self._task))

    async def finish(self, stopping: asyncio.Event) -> None:
        """Wait for the validations under way, but not once the run is told to stop."""
        if self._task is not None:
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait((self._task, stop), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()

    async def stop(self) -> None:
        """End the validation under way; a run that goes on makes it again when it is due again."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _measure(self, version: int, model: Path, folder: Path, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await before
        store.write_atomic(folder.with_name("eval.yaml"), yaml.safe_dump({"eval": self._eval}))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ovrl", "eval", "-q", "-c", str(folder.with_name("eval.yaml"))),
            *("--model", str(model), "--samples", str(self._settings.samples), "-o", str(folder)),
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        finally:
            shutil.rmtree(model, ignore_errors=True)
        if code:
            log.warning("the validation of step %d failed with exit code %d", version, code)
            return
        overall = json.loads((folder / "results.json").read_text())["overall"]
        log.info("validation of step %d: accuracy %.4g (%.4g to %.4g)", version, *_interval(overall))
        with (self._run / "validation.jsonl").open("a", encoding="utf-8") as file:
            file.write(store.dumps({"step": version, **overall}) + "\n")


def _interval(overall: dict[str, float]) -> tuple[float, float, float]:
    return overall["accuracy"], overall["low"], overall["high"]
