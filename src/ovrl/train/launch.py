"""From settings to a running loop: build the parts, or rebuild them from the last checkpoint."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ovrl import store
from ovrl.errors import UsageError
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.reward.pool import ScorePool
from ovrl.rollout.policy import Policy
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.train import checkpoint, loop
from ovrl.train.collect import Collector
from ovrl.train.journal import Journal
from ovrl.train.learner import Learner
from ovrl.train.ledger import Ledger
from ovrl.train.metrics import Metrics
from ovrl.train.recipe import make
from ovrl.train.settings import TrainSettings

log = logging.getLogger(__name__)


def launch(
    samples: Sequence[Sample],
    model: str,
    run: Path,
    settings: TrainSettings,
    *,
    rejects: Rejects,
    seed: int,
    on_step: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Train, from the start or from the last checkpoint in `run`, and write `run/final`.

    Args:
        samples: the prompts, in the mode in which they are to be asked.
        model: directory or hub id of the first policy.
        run: the run directory; the caller owns its manifest.
        settings: resolved settings.
        rejects: takes samples that cannot be asked.
        seed: of prompt order and sampling.
        on_step: told the metrics of each step.

    Returns:
        counts for the manifest.

    Raises:
        UsageError: there are no samples, or the model or the recipe cannot be loaded.
        OvrlError: training cannot go on; the state is saved.
    """
    if not samples:
        raise UsageError("no samples to train on")
    recipe = make(settings, seed=seed)
    (run / "trajectories").mkdir(exist_ok=True)
    store.write_atomic(run / "config.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    point = checkpoint.latest(run)
    policy = Policy.load(str(point.path) if point else model, device=settings.learner.device, dtype="float32")
    learner = Learner(policy, recipe, settings)
    ledger = Ledger(settings.batch.groups)
    journal = Journal(run / "journal.jsonl")
    if point is not None:
        ledger = _restore(point, learner, journal, settings.batch.groups)
    engine = TransformersEngine(policy, batch_size=settings.learner.rollout_batch, version=ledger.version)
    metrics = Metrics(run / "metrics.jsonl", ledger.version)
    with ScorePool(settings.score) as pool:
        collector = Collector(
            samples, engine, pool, recipe, settings, rejects=rejects, folder=run / "trajectories", seed=seed
        )
        parts = loop.Parts(run, settings, recipe, engine, learner, collector, ledger, journal, metrics, ledger.counts())
        loop.train(parts, on_step)
        newest = checkpoint.latest(run)
        if newest is None or newest.step < ledger.version:
            loop.save(parts)
    _write_final(run, learner)
    journal.close()
    metrics.close()
    return _counts(ledger) | {"samples": len(samples)}


def _counts(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger's totals as the manifest shows them."""
    return {
        "steps": ledger.version,
        "groups": ledger.admitted,
        "groups_trained": ledger.taken,
        "groups_rejected": dict(ledger.reasons),
    }


def _restore(point: checkpoint.Checkpoint, learner: Learner, journal: Journal, groups_per_step: int) -> Ledger:
    """Return the ledger of the checkpoint, with the learner brought to the same state."""
    log.info("going on from step %d", point.step)
    point.restore(learner)
    journal.append("resume", step=point.step)
    return Ledger.restored(groups_per_step, point.progress()["ledger"])


def _write_final(run: Path, learner: Learner) -> None:
    """Write the last policy under its final name."""
    final, temporary = run / "final", run / ".final"
    for stale in (final, temporary):
        if stale.exists():
            shutil.rmtree(stale)
    learner.save(temporary)
    store.sync(temporary)
    temporary.rename(final)
