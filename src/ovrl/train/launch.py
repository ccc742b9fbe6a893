"""From settings to a running loop: build the parts, or rebuild them from the last checkpoint."""

import logging
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ovrl import store
from ovrl.errors import OvrlError, UsageError
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
from ovrl.train.ranks import Ranks
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
    ranks = Ranks.join(settings)
    try:
        return _lead(
            ranks, samples, model, run, settings, rejects=rejects, seed=seed, on_step=on_step, validation=validation
        )
    finally:
        ranks.close()


def follow(samples: Sequence[Sample], settings: TrainSettings, *, seed: int) -> None:
    """Do what rank 0 tells, until it stops; every other rank calls this in place of `launch`.

    Args:
        samples: the same as on rank 0.
        settings: the same as on rank 0.
        seed: the same as on rank 0.

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
                    learner = _learner(ranks, order.values, samples, settings, make(settings, seed=seed))
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


@dataclass(frozen=True, slots=True)
class Start:
    """What every rank loads."""

    policy: str
    """To be trained."""
    reference: str
    """Policy of the start of the run."""


def _learner(ranks: Ranks, start: Start, samples: Sequence[Sample], settings: TrainSettings, recipe: Recipe) -> Learner:
    """Return the learner of this rank.

    Raises:
        UsageError: a model cannot be loaded.
    """

    def load(name: str, device: str) -> Policy:
        return ranks.together(lambda: Policy.load(name, device=device, dtype="float32"))

    # DeepSpeed moves the weights to the device itself, part by part.
    policy = load(start.policy, "cpu" if ranks.zero else settings.learner.device)
    learner = Learner(policy, recipe, settings, samples=samples, ranks=ranks)
    if recipe.objective.kl.coefficient > 0 or Schedule(settings).binds("objective.kl.coefficient"):
        learner.keep_near(policy if settings.learner.lora_rank else load(start.reference, settings.learner.device))
    return learner


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
    validation: Validation | None,
) -> dict[str, Any]:
    """Run the loop; see `launch`."""
    method = Scheduled(make(settings, seed=seed), Schedule(settings))
    chosen = settings.model_copy(update={"objective": method.recipe.objective})
    store.write_atomic(run / "config.yaml", yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False))
    point = checkpoint.latest(run)
    # What an adapter is beside stays as it was; the adapter is part of the trainer's state.
    first = str(point.path) if point and not settings.learner.lora_rank else model
    start = Start(first, model)
    ranks.tell("start", start)
    learner = _learner(ranks, start, samples, settings, method.recipe)
    version = point.step if point else 0
    engine = _engine(learner, first, settings, version)
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
        size = now.batch.group_size
        draws = method.recipe.plan(sample, size)
        if (planned := sum(draw.n for draw in draws)) != size:
            raise UsageError(
                f"the recipe plans {planned} completions of a prompt, and train.batch.group_size is {size}"
            )
        return plan.requests(gid, sample.id, built, draws, now.sampling.sampling(), seed=seed, step=version)

    return ask


def new_ledger(settings: TrainSettings) -> Ledger:
    """Return the ledger of a run in which nothing has happened."""
    groups = settings.batch.groups
    return Ledger(
        groups, settings.eta, steps=settings.steps, refills=settings.batch.refills, lead=min(settings.eta, 1) * groups
    )


def _engine(learner: Learner, model: str, settings: TrainSettings, version: int) -> Engine:
    """Return an engine with the learner's own weights when nothing is sampled while they move, else one beside it."""
    options = settings.learner
    if settings.eta == 0:
        policy = learner.policy if learner.in_place else Policy.load(model, device=options.device, dtype="float32")
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
