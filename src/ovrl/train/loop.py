"""The training loop. It names no algorithm: the recipe rejects and credits, the ledger counts, the learner learns.

    engine --pulls--> controller --groups--> ledger.pick --> take --> learner.step --> publish --+
       ^                  |                                   |                                  |
       |                  +------- journal, spool ------------+                                  |
       +----------------------------- new weights, in flight ------------------------------------+

Generation, scoring and training go on side by side, on one event loop; engine and learner have a thread each. With
eta = 0 it is the same code: nothing may be begun before the weights that it is to be sampled with are in force.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ovrl.errors import OvrlError
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.train import metrics
from ovrl.train.books import Books, Step
from ovrl.train.controller import Controller, Scorer
from ovrl.train.interrupts import noted
from ovrl.train.ledger import adapted
from ovrl.train.meter import Meter, Overlap
from ovrl.train.metrics import Metrics
from ovrl.train.settings import TrainSettings
from ovrl.train.trajectory import Group
from ovrl.train.validate import Validation
from ovrl.train.watch import Watch

log = logging.getLogger(__name__)

_EMPTY_STEPS = 20
"""Steps without a single group to learn from, in a row, after which going on would be a waste."""

GRACE = 60.0
"""Seconds that a step under way gets to end when the run is told to stop. After that it is left as it is: the last
checkpoint and the journal are enough to go on."""


class Rollouts(Protocol):
    """Where completions come from; `engine_thread.EngineThread` drives an engine, `virtual.VirtualRollouts` none."""

    async def run(self, controller: Controller) -> None:
        """Pull from the controller and give it completions, until `stop`.

        Raises:
            OvrlError: the engine failed.
        """
        ...

    async def stop(self) -> None:
        """End `run`; what is under way is dropped."""
        ...


class Trainer(Protocol):
    """What moves the weights, without keeping the event loop from its work; `learner_thread.LearnerThread` is one."""

    async def step(self, groups: Sequence[Group], number: int) -> dict[str, Any]:
        """Make the update of a step, from at least one group, and return its figures."""
        ...

    async def publish(self, version: int) -> None:
        """Give the engine the weights; when this returns, it samples with them."""
        ...

    async def save(self, version: int, progress: dict[str, Any]) -> None:
        """Write a checkpoint."""
        ...

    async def snapshot(self, path: Path) -> None:
        """Write the model alone, as a directory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the loop runs on; `launch` builds it."""

    settings: TrainSettings
    samples: Sequence[Sample]
    books: Books
    rollouts: Rollouts
    trainer: Trainer
    scorer: Scorer
    reject: Callable[[Group], str | None]
    rejects: Rejects
    metrics: Metrics
    validation: Validation | None = None
    version: int
    """Of the weights that the trainer has: steps that led to them."""


def train(
    parts: Parts,
    on_step: Callable[[dict[str, Any]], None],
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    """Run the steps that are left. Stopped at any moment, it leaves a run that goes on from there.

    Args:
        parts: the run.
        on_step: told the metrics of each step.
        new_loop: makes the event loop; its clock is the only one that is looked at.

    Raises:
        OvrlError: nothing is left to learn from, or the engine failed; the state is saved.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_Training(parts, on_step).run())


class _AbandonedError(Exception):
    """The run is stopped in the middle of an update."""


class _Training:
    """A run."""

    def __init__(self, parts: Parts, on_step: Callable[[dict[str, Any]], None]) -> None:
        self._parts = parts
        self._on_step = on_step
        self._ledger = parts.books.ledger
        self._trained: int | None = parts.version
        """Steps that led to the weights; None while these change."""
        self._saved = parts.version
        self._unreported: tuple[Step, dict[str, Any]] | None = None
        """A step that was trained and has no line in the metrics yet."""
        self._watch = Watch()
        self._empty = 0
        self._is_warm = False
        """Whether a step was made; the first one waits for its whole batch, which says nothing about the lead."""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run until the last step, a stop or a failure; then save what there is."""
        loop, parts = asyncio.get_running_loop(), self._parts
        self._now = loop.time
        self._meter = Meter(loop.time, slots=parts.settings.learner.rollout_batch)
        self._controller = Controller(
            parts.books,
            parts.samples,
            parts.scorer,
            parts.reject,
            group_size=parts.settings.batch.group_size,
            rejects=parts.rejects,
            meter=self._meter,
        )
        loop.set_exception_handler(self._controller.on_error)
        with noted(loop, self._stop):
            rollouts: asyncio.Future[None] | None = None
            try:
                await self._catch_up()
                rollouts = asyncio.ensure_future(parts.rollouts.run(self._controller))
                rollouts.add_done_callback(self._rollouts_ended)
                await self._steps()
                if self._ledger.version > self._saved:
                    await self._save(self._ledger.version)
                if parts.validation is not None and not self._stopping.is_set():
                    await parts.validation.finish(self._stopping)
            except _AbandonedError:
                log.warning("the step under way did not end within %.0f s; it will be made again", GRACE)
            finally:
                await self._end(rollouts)

    async def _end(self, rollouts: "asyncio.Future[None] | None") -> None:
        """Save, and stop what runs; whatever happened before."""
        self._controller.close()
        try:
            if self._unreported is not None:
                step, figures = self._unreported
                self._parts.metrics.write(self._line(step, figures, metrics.Times(), None))
            if self._trained is not None and self._trained > self._saved:
                await self._save(self._trained)
        finally:
            if self._parts.validation is not None:
                await self._parts.validation.stop()
            await self._parts.rollouts.stop()
            if rollouts is not None:
                await asyncio.wait([rollouts])
            self._parts.books.close()

    def _rollouts_ended(self, ended: "asyncio.Future[None]") -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self._controller.fail(error)

    def _stop(self) -> None:
        """Stop at the next moment at which weights and books agree; called from the signal handler."""
        self._stopping.set()
        self._controller.changed.set()

    async def _catch_up(self) -> None:
        """Train what was taken after the checkpoint again, with the same groups, and bring the engine up to date."""
        for step in self._parts.books.replays(self._parts.version):
            if self._stopping.is_set():
                return
            log.info("step %d is trained again, from its stored groups", step.number)
            began = self._now()
            figures = await self._learn(step)
            self._report(step, figures, metrics.Times(train=self._now() - began), None)
        if self._ledger.in_training is not None:
            self._parts.books.publish(self._ledger.lead)
        if self._ledger.version:
            await self._parts.trainer.publish(self._ledger.version)
        self._controller.refresh()

    async def _steps(self) -> None:
        self._meter.begin()
        self._began = self._now()
        while self._ledger.version < self._parts.settings.steps and not self._stopping.is_set():
            if not await self._step():
                return
            if self._ledger.version % self._parts.settings.save_every == 0:
                await self._save(self._ledger.version)
            if self._parts.validation is not None:
                await self._parts.validation.after(self._ledger.version, self._parts.trainer.snapshot)

    async def _step(self) -> bool:
        """Make one step; False when the run is stopped before it has begun."""
        parts, ledger, began = self._parts, self._ledger, self._began
        asked = self._now()
        spare = len(ledger.finished) - ledger.groups_per_step
        gids = await self._batch()
        if gids is None:
            return False
        taken = self._now()
        step = parts.books.take(gids)
        self._controller.refresh()
        figures = await self._learn(step)
        trained = self._now()
        await parts.trainer.publish(step.number + 1)
        published = self._now()
        self._began = published
        waited = (taken - asked) / max(published - began, 1e-9)
        parts.books.publish(adapted(ledger, waited=waited, spare=spare) if self._is_warm else ledger.lead)
        self._is_warm = True
        self._controller.refresh()
        times = metrics.Times(
            step=published - began, wait=taken - asked, train=trained - taken, publish=published - trained
        )
        batch = {group.gid: [len(t.token_ids) for t in group.trajectories] for group in step.taken}
        overlap = self._meter.step(batch, train=times.train, publish=times.publish, eta=ledger.eta)
        self._report(step, figures, times, overlap)
        return True

    async def _batch(self) -> list[int] | None:
        """Wait for the next batch; None when the run is to stop.

        Raises:
            OvrlError: none will come.
        """
        while True:
            self._controller.changed.clear()
            if self._controller.failure is not None:
                raise self._controller.failure
            if self._stopping.is_set():
                return None
            if (gids := self._ledger.pick()) is not None:
                return gids
            await self._controller.changed.wait()

    async def _learn(self, step: Step) -> dict[str, Any]:
        """Update the weights on the groups of a step and return the figures of the update."""
        if not step.taken:
            log.warning("step %d has nothing to learn from; its weights stay", step.number)
            self._trained = step.number + 1
            self._unreported = (step, metrics.NOTHING_LEARNT)
            return metrics.NOTHING_LEARNT
        self._trained = None
        figures = await self._within_grace(self._parts.trainer.step(step.taken, step.number))
        self._trained = step.number + 1
        self._unreported = (step, figures)
        self._parts.books.trained(step.number)
        return figures

    async def _within_grace(self, update: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """Wait for an update; once the run is told to stop, not longer than the grace time."""
        task, stop = asyncio.ensure_future(update), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                log.info("stopping when the step under way has ended")
                await asyncio.wait((task,), timeout=GRACE)
                if not task.done():
                    raise _AbandonedError
            return task.result()
        finally:
            stop.cancel()

    def _line(
        self, step: Step, figures: dict[str, Any], times: metrics.Times, overlap: Overlap | None
    ) -> dict[str, Any]:
        return {
            "step": step.number,
            "policy_version": step.number,
            **metrics.sampled(step),
            **figures,
            **metrics.timed(times, overlap),
            "lead": round(self._ledger.lead / self._ledger.groups_per_step, 4),
        }

    def _report(self, step: Step, figures: dict[str, Any], times: metrics.Times, overlap: Overlap | None) -> None:
        line = self._line(step, figures, times, overlap)
        self._parts.metrics.write(line)
        self._unreported = None
        self._on_step(line)
        for warning in self._watch.look(line):
            log.warning("step %d: %s", step.number, warning)
        self._empty = 0 if step.taken else self._empty + 1
        if self._empty == _EMPTY_STEPS:
            raise OvrlError(
                f"no group of the last {self._empty} steps had anything to teach ({line['groups_rejected']}); "
                "curate the samples with this model"
            )

    async def _save(self, version: int) -> None:
        """Write a checkpoint of the weights as they are."""
        log.debug("saving the state of step %d", version)
        self._parts.metrics.sync()
        await self._parts.trainer.save(version, self._parts.books.progress())
        self._parts.books.checkpoint(version)
        self._saved = version
