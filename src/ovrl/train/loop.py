"""The training loop. It names no algorithm: the recipe answers, the ledger counts, the learner moves weights.

fill -> take -> credit -> step -> publish -> next version
 |       |                 |        |
 |       journal           journal  engine.load
 trajectories                       checkpoint when due
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl.errors import OvrlError
from ovrl.rollout.engine import Engine
from ovrl.rollout.prompt import Prompt
from ovrl.train import batch, checkpoint, metrics
from ovrl.train.collect import Collector
from ovrl.train.interrupts import deferred
from ovrl.train.journal import Journal
from ovrl.train.learner import Learner
from ovrl.train.ledger import Ledger
from ovrl.train.metrics import Metrics
from ovrl.train.recipe import Recipe
from ovrl.train.settings import TrainSettings
from ovrl.train.trajectory import Group

log = logging.getLogger(__name__)

_EMPTY_STEPS = 20
"""Steps without a single group to learn from, in a row, after which going on would be a waste."""


@dataclass(slots=True)
class Parts:
    """What the loop runs on; `launch` builds it."""

    run: Path
    settings: TrainSettings
    recipe: Recipe
    engine: Engine
    learner: Learner
    collector: Collector
    ledger: Ledger
    journal: Journal
    metrics: Metrics
    boundary: dict[str, Any] | None
    """The ledger's counts between two steps, that belong to the weights; None while weights change."""


def train(parts: Parts, on_step: Callable[[dict[str, Any]], None]) -> None:
    """Run the steps that are left. Stopped at any moment, it leaves a run that goes on from there.

    Args:
        parts: the run, at the version of its ledger.
        on_step: told the metrics of each step.

    Raises:
        OvrlError: nothing is left to learn from, or the engine failed.
    """
    saved = parts.ledger.version
    empty = 0
    try:
        while parts.ledger.version < parts.settings.steps:
            line = _step(parts)
            on_step(line)
            empty = 0 if line["groups_used"] else empty + 1
            if empty == _EMPTY_STEPS:
                raise OvrlError(
                    f"no group of the last {empty} steps had anything to teach "
                    f"({line['groups_rejected']}); curate the samples with this model"
                )
            if parts.ledger.version % parts.settings.save_every == 0:
                with deferred():
                    save(parts)
                    saved = parts.ledger.version
    except BaseException:
        if parts.boundary is not None and parts.boundary["version"] > saved:
            log.info("saving the state of step %d", parts.boundary["version"])
            with deferred():
                save(parts)
        raise


def _step(parts: Parts) -> dict[str, Any]:
    """Make one step and return its metrics."""
    ledger = parts.ledger
    step, before, start = ledger.version, Counter(ledger.reasons), time.perf_counter()
    groups, prompts = parts.collector.fill(ledger)
    generated = time.perf_counter()
    with deferred():  # from here on weights, journal and ledger change together
        chosen = _take(parts)
        parts.boundary = None
        figures = _learn(parts, [groups[gid] for gid in chosen], prompts, step)
        trained = time.perf_counter()
        parts.engine.load(parts.learner.weights(), step + 1)
        ledger.published()
        parts.boundary = ledger.counts()
        published = time.perf_counter()
        line = {
            "step": step,
            "policy_version": step,
            **metrics.sampled(list(groups.values()), ledger.reasons - before, len(chosen), step),
            **figures,
            **metrics.timed(published - start, generated - start, trained - generated, published - trained),
        }
        parts.metrics.write(line)
    return line


def _take(parts: Parts) -> list[int]:
    """Fix the batch: in the ledger, and durably in the journal before the first gradient."""
    step = parts.ledger.version
    chosen = parts.ledger.take()
    parts.collector.seal(step)
    earlier = parts.journal.taken(step)
    if earlier is not None and earlier != chosen:
        log.warning("step %d was trained on groups %s before the stop, and now on %s", step, earlier, chosen)
    parts.journal.append("take", step=step, gids=chosen)
    return chosen


def _learn(parts: Parts, groups: list[Group], prompts: dict[int, Prompt], step: int) -> dict[str, Any]:
    """Update the weights on the groups and return the figures of the update."""
    if not groups:
        log.warning("step %d has nothing to learn from; its weights stay", step)
        return {**dict.fromkeys(_FIGURES, 0.0), "tokens_trained": 0}
    credit = parts.recipe.credit(groups)
    items = batch.items(groups, [prompts[group.gid] for group in groups], credit)
    figures = parts.learner.step(items, step)
    parts.journal.append("trained", step=step)
    return figures


_FIGURES = ("loss", "entropy", "clip_fraction", "behaviour_kl", "behaviour_masked", "grad_norm", "lr")


def save(parts: Parts) -> None:
    """Write a checkpoint of the version in force."""
    assert parts.boundary is not None
    version = parts.boundary["version"]
    progress = {"ledger": parts.boundary}
    checkpoint.save(parts.run, version, parts.learner, progress, keep=parts.settings.keep_checkpoints)
    parts.journal.append("checkpoint", step=version)
