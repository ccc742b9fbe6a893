"""From settings to a running loop: build the parts, or rebuild them from the last checkpoint."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ovrl import store
from ovrl.errors import UsageError
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.reward.pool import ScorePool
from ovrl.rollout.engine import Engine, Request
from ovrl.rollout.engine_process import EngineProcess
from ovrl.rollout.policy import Policy
from ovrl.rollout.prompt import Prompt
from ovrl.rollout.settings import EngineSettings
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.train import batch, checkpoint, loop, model_card, plan
from ovrl.train.books import Books
from ovrl.train.engine_thread import Ask, EngineThread
from ovrl.train.learner import Learner
from ovrl.train.learner_thread import LearnerThread
from ovrl.train.ledger import Ledger
from ovrl.train.metrics import Metrics
from ovrl.train.recipe import Recipe, make
from ovrl.train.schedule import Schedule
from ovrl.train.settings import TrainSettings
from ovrl.train.trajectory import Group
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
    method = Scheduled(make(settings, seed=seed), Schedule(settings))
    store.write_atomic(run / "config.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    point = checkpoint.latest(run)
    first = str(point.path) if point else model
    policy = Policy.load(first, device=settings.learner.device, dtype="float32")
    learner = Learner(policy, method.recipe, settings)
    version = point.step if point else 0
    engine = _engine(policy, first, settings, version)
    books = _books(run, samples, settings, method, learner, point, seed)
    metrics = Metrics(run / "metrics.jsonl", version)
    with ScorePool(settings.score) as pool:
        parts = loop.Parts(
            settings=settings,
            samples=samples,
            books=books,
            rollouts=EngineThread(engine, samples, _asking(method, seed), settings.batch.max_pixels),
            trainer=LearnerThread(learner, engine, run, settings, method=method, items=batch.items),
            scorer=pool,
            reject=method.recipe.reject,
            rejects=rejects,
            metrics=metrics,
            validation=validation,
            version=version,
        )
        loop.train(parts, on_step)
    metrics.close()
    _write_final(run, learner, model_card.write(model, settings, run, len(samples)))
    return counts(books.ledger) | {"samples": len(samples)}


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A recipe with the settings of each step."""

    recipe: Recipe
    schedule: Schedule

    def credit(self, groups: Sequence[Group], number: int) -> list[list[list[float]]]:
        """Return the advantages of a step, and leave the recipe at the settings of that step."""
        now = self.schedule.at(number)
        self.recipe.use(now.objective, longest=now.sampling.max_new_tokens)
        return self.recipe.credit(groups)

    def state_dict(self) -> dict[str, Any]:
        """Return the recipe's state."""
        return self.recipe.state_dict()


def _books(
    run: Path,
    samples: Sequence[Sample],
    settings: TrainSettings,
    method: Scheduled,
    learner: Learner,
    point: checkpoint.Checkpoint | None,
    seed: int,
) -> Books:
    """Return the books of the run, with learner and recipe brought to the state of the checkpoint."""
    sampler = method.recipe.sampler(samples, seed=seed, groups=settings.batch.groups)
    books = Books(run, new_ledger(settings), sampler, samples)
    if point is None:
        books.resume(None)
        return books
    log.info("going on from step %d", point.step)
    progress = point.progress()
    point.restore(learner)
    method.recipe.load_state_dict(progress["recipe"])
    books.resume(progress)
    return books


def _asking(method: Scheduled, seed: int) -> Ask:
    """Return what makes the requests of a group: as the recipe plans them, with the sampling of the moment."""

    def ask(gid: int, sample: Sample, built: Prompt, version: int) -> list[Request]:
        now = method.schedule.at(version)
        draws = method.recipe.plan(sample, now.batch.group_size)
        return plan.requests(gid, sample.id, built, draws, now.sampling.sampling(), seed=seed, step=version)

    return ask


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
