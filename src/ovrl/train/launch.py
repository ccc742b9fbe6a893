"""From settings to a running loop: build the parts, or rebuild them from the last checkpoint."""

import logging
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ovrl import store
from ovrl.errors import OvrlError, UsageError
from ovrl.plugins import resolve
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
from ovrl.train.ranks import Ranks
from ovrl.train.recipe import Recipe
from ovrl.train.recipes.table import RECIPES
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
    ranks = Ranks.join(settings)
    try:
        return _lead(ranks, samples, model, run, settings, rejects=rejects, seed=seed, on_step=on_step)
    finally:
        ranks.close()


def follow(samples: Sequence[Sample], settings: TrainSettings) -> None:
    """Do what rank 0 tells, until it stops; every other rank calls this in place of `launch`.

    Args:
        samples: the same as on rank 0.
        settings: the same as on rank 0.

    Raises:
        OvrlError: rank 0 is gone.
    """
    ranks = Ranks.join(settings)
    for number in (signal.SIGINT, signal.SIGTERM):  # rank 0 saves the state, and needs the others for it
        signal.signal(number, signal.SIG_IGN)
    learner: Learner | None = None
    try:
        while (order := ranks.hear()).verb != "stop":
            try:
                if learner is None:
                    learner = _learner(ranks, order.values, samples, settings)
                else:
                    learner.obey(order)
            except OvrlError as error:  # rank 0 has failed with the same message, and says so
                log.debug("%s", error)
    except BaseException as error:
        error.add_note(f"on rank {ranks.rank}")
        raise
    ranks.close()


def dismiss(settings: TrainSettings) -> None:
    """Send the other ranks home: rank 0 finds the run finished."""
    Ranks.join(settings).close()


def _learner(ranks: Ranks, model: str, samples: Sequence[Sample], settings: TrainSettings) -> Learner:
    """Return the learner of this rank.

    Raises:
        UsageError: the model or the recipe cannot be loaded.
    """
    recipe_class: type[Recipe] = resolve(settings.recipe, RECIPES, "recipe")
    # DeepSpeed moves the weights to the device itself, part by part.
    device = "cpu" if ranks.zero else settings.learner.device
    policy = ranks.together(lambda: Policy.load(model, device=device, dtype="float32"))
    return Learner(policy, recipe_class(settings.objective), settings, samples=samples, ranks=ranks)


def _lead(
    ranks: Ranks,
    samples: Sequence[Sample],
    model: str,
    run: Path,
    settings: TrainSettings,
    *,
    rejects: Rejects,
    seed: int,
    on_step: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run the loop; see `launch`."""
    (run / "trajectories").mkdir(exist_ok=True)
    store.write_atomic(run / "config.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    point = checkpoint.latest(run)
    # What an adapter is beside stays as it was; the adapter is part of the trainer's state.
    name = str(point.path) if point and not settings.learner.lora_rank else model
    ranks.tell("start", name)
    learner = _learner(ranks, name, samples, settings)
    recipe = learner.recipe
    ledger = Ledger(settings.batch.groups)
    journal = Journal(run / "journal.jsonl")
    if point is not None:
        ledger = _restore(point, learner, journal, settings.batch.groups)
    policy = learner.policy
    if not learner.in_place:
        policy = Policy.load(name, device=settings.learner.device, dtype="float32")
    engine = TransformersEngine(policy, batch_size=settings.learner.rollout_batch, version=ledger.version)
    if point is not None and not learner.in_place:
        engine.load(learner.weights(), ledger.version)
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
