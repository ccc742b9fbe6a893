"""From settings to a running loop: build the parts, or rebuild them from the last checkpoint."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ovrl import store
from ovrl.errors import UsageError
from ovrl.plugins import resolve
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.reward.pool import ScorePool
from ovrl.rollout.engine import Engine
from ovrl.rollout.engine_process import EngineProcess
from ovrl.rollout.policy import Policy
from ovrl.rollout.settings import EngineSettings
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.train import batch, checkpoint, loop, model_card
from ovrl.train.books import Books
from ovrl.train.engine_thread import EngineThread
from ovrl.train.learner import Learner
from ovrl.train.learner_thread import LearnerThread
from ovrl.train.ledger import Ledger
from ovrl.train.metrics import Metrics
from ovrl.train.order import PromptOrder
from ovrl.train.recipe import Recipe
from ovrl.train.recipes.table import RECIPES
from ovrl.train.settings import TrainSettings
from ovrl.train.validate import Validation

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
    validation: Validation | None = None,
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
        validation: measures snapshots beside the run.

    Returns:
        counts for the manifest.

    Raises:
        UsageError: there are no samples, or the model or the recipe cannot be loaded.
        OvrlError: training cannot go on; the state is saved.
    """
    if not samples:
        raise UsageError("no samples to train on")
    recipe_class: type[Recipe] = resolve(settings.recipe, RECIPES, "recipe")
    store.write_atomic(run / "config.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    point = checkpoint.latest(run)
    version = point.step if point else 0
    policy = Policy.load(str(point.path) if point else model, device=settings.learner.device, dtype="float32")
    recipe = recipe_class(settings.objective)
    learner = Learner(policy, recipe, settings)
    books = Books(run, new_ledger(settings), PromptOrder(len(samples), seed), samples)
    if point is not None:
        log.info("going on from step %d", point.step)
        point.restore(learner)
    books.resume(point.progress() if point else None)
    engine = _engine(policy, str(point.path) if point else model, settings, version)
    metrics = Metrics(run / "metrics.jsonl", version)
    with ScorePool(settings.score) as pool:
        parts = loop.Parts(
            settings=settings,
            samples=samples,
            books=books,
            rollouts=EngineThread(
                engine,
                samples,
                group_size=settings.batch.group_size,
                sampling=settings.sampling.sampling(),
                max_pixels=settings.batch.max_pixels,
                seed=seed,
            ),
            trainer=LearnerThread(learner, engine, run, settings, credit=recipe.credit, items=batch.items),
            scorer=pool,
            reject=recipe.reject,
            rejects=rejects,
            metrics=metrics,
            validation=validation,
            version=version,
        )
        loop.train(parts, on_step)
    metrics.close()
    _write_final(run, learner, model_card.write(model, settings, run, len(samples)))
    return counts(books.ledger) | {"samples": len(samples)}


def new_ledger(settings: TrainSettings) -> Ledger:
    """Return the ledger of a run in which nothing has happened."""
    groups = settings.batch.groups
    return Ledger(
        groups, settings.eta, steps=settings.steps, refills=settings.batch.refills, lead=min(settings.eta, 1) * groups
    )


def _engine(policy: Policy, model: str, settings: TrainSettings, version: int) -> Engine:
    """Return an engine with the learner's own weights when nothing is sampled while they move, else one beside it."""
    options = settings.learner
    if settings.eta == 0:
        return TransformersEngine(policy, batch_size=options.rollout_batch, version=version)
    return EngineProcess(model, EngineSettings(device=options.device, batch_size=options.rollout_batch, processes=1))


def counts(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger's totals as the manifest shows them."""
    return {
        "steps": ledger.version,
        "groups": ledger.planned,
        "groups_trained": ledger.taken,
        "groups_rejected": dict(ledger.reasons),
    }


def _write_final(run: Path, learner: Learner, card: str) -> None:
    """Write the last policy and its model card under its final name."""
    final, temporary = run / "final", run / ".final"
    for stale in (final, temporary):
        if stale.exists():
            shutil.rmtree(stale)
    learner.save(temporary)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    store.sync(temporary)
    temporary.rename(final)
