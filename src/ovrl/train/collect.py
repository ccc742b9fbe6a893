"""Sample and judge the groups of a step, and write each down as soon as it is judged.

What an interrupted run had written is read back instead of being sampled again.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.errors import RecordError
from ovrl.records import Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.reward.pool import ScorePool
from ovrl.rollout import prompt
from ovrl.rollout.engine import Engine, Generation, Refusal, Request
from ovrl.rollout.prompt import Prompt
from ovrl.train import trajectory
from ovrl.train.ledger import Ledger
from ovrl.train.order import PromptOrder
from ovrl.train.recipe import Recipe
from ovrl.train.settings import TrainSettings
from ovrl.train.trajectory import Group, Trajectory


class Collector:
    """Fills batches: admits groups as the ledger allows, and replaces those that the recipe rejects."""

    def __init__(
        self,
        samples: Sequence[Sample],
        engine: Engine,
        pool: ScorePool,
        recipe: Recipe,
        settings: TrainSettings,
        *,
        rejects: Rejects,
        folder: Path,
        seed: int,
    ) -> None:
        """Take the parts together.

        Args:
            samples: the prompts.
            engine: samples completions.
            pool: judges them.
            recipe: says which groups must not train.
            settings: sizes and sampling.
            rejects: takes samples whose prompt cannot be built.
            folder: `trajectories/` of the run.
            seed: of prompt order and sampling.
        """
        self._samples = samples
        self._engine = engine
        self._pool = pool
        self._recipe = recipe
        self._settings = settings
        self._rejects = rejects
        self._folder = folder
        self._seed = seed
        self._order = PromptOrder(len(samples), seed)

    def fill(self, ledger: Ledger) -> tuple[dict[int, Group], dict[int, Prompt]]:
        """Sample until the step has its groups, or the refills are used up.

        Returns:
            every group of the step and every prompt, by group number; the ledger knows which were rejected.
        """
        step = ledger.version
        groups: dict[int, Group] = {}
        prompts: dict[int, Prompt] = {}
        path = self._folder / f"step-{step:06d}.jsonl"
        recorded = self._recorded(path)
        with (self._folder / f"{path.name}.partial").open("a", encoding="utf-8") as file:
            for _ in range(1 + self._settings.batch.refills):
                gids = [ledger.admit() for _ in range(ledger.room())]
                if not gids:
                    break
                prompts |= self._build(gids, ledger)
                kept = {gid: recorded[gid] for gid in gids if gid in recorded}
                missing = [gid for gid in gids if gid in prompts and gid not in kept]
                for group in (*kept.values(), *self._sample(missing, prompts)):
                    reason = self._recipe.reject(group)
                    groups[group.gid] = group
                    ledger.finish(group.gid, group.version_oldest)
                    if reason is not None:
                        ledger.reject(group.gid, reason)
                    if group.gid not in recorded:
                        lines = trajectory.encode(group, step=None if reason else step, rejected=reason)
                        file.write("".join(store.dumps(line) + "\n" for line in lines))
                        file.flush()
                for gid in missing:
                    if gid not in groups:
                        ledger.reject(gid, "bad_prompt")
        ledger.surrender()
        return groups, prompts

    def seal(self, step: int) -> None:
        """Give the step's trajectories their final name: the batch is fixed."""
        path = self._folder / f"step-{step:06d}.jsonl"
        partial = self._folder / f"{path.name}.partial"
        if path.exists():
            assert partial.stat().st_size == 0, f"{path} was complete, and yet groups were sampled again"
            partial.unlink()
            return
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)

    def _recorded(self, path: Path) -> dict[int, Group]:
        """Return the groups that an earlier run wrote for this step; a torn one is cut."""
        partial = path.with_name(f"{path.name}.partial")
        if path.exists():
            lines = _lines(path)
        elif partial.exists():
            lines = _complete(_lines(partial), self._settings.batch.group_size)
            text = "".join(store.dumps(line) + "\n" for line in lines)
            store.write_atomic(partial, text)
        else:
            return {}
        found: dict[int, Group] = {}
        for gid, part in groupby(lines, key=lambda line: int(line["group_id"])):
            found[gid] = trajectory.decode(list(part), self._samples[self._order.row(gid)])
        return found

    def _build(self, gids: Sequence[int], ledger: Ledger) -> dict[int, Prompt]:
        """Return the prompts; a group whose prompt cannot be built is rejected."""
        built: dict[int, Prompt] = {}
        for gid in gids:
            sample = self._samples[self._order.row(gid)]
            try:
                built[gid] = prompt.build(sample, max_pixels=self._settings.batch.max_pixels)
            except RecordError as error:
                self._rejects.add(error, record_id=sample.id)
                ledger.reject(gid, "bad_prompt")
        return built

    def _sample(self, gids: Sequence[int], prompts: Mapping[int, Prompt]) -> Iterator[Group]:
        """Yield the groups, sampled and judged, but those that the engine refuses."""
        size, sampling = self._settings.batch.group_size, self._settings.sampling.sampling()
        requests = (
            Request(
                id=str(gid),
                prompt=prompts[gid],
                seeds={k: derive_seed(self._seed, gid, k) for k in range(size)},
                sampling=sampling,
            )
            for gid in gids
        )
        made: dict[int, list[Generation]] = defaultdict(list)
        for generation in self._engine.generate(requests):
            gid = int(generation.request_id)
            if isinstance(generation, Refusal):
                sample = self._samples[self._order.row(gid)]
                self._rejects.add(RecordError("problem", generation.reason), record_id=sample.id)
            else:
                made[gid].append(generation)
        ordered = [(gid, sorted(made[gid], key=lambda g: g.k)) for gid in gids if gid in made]
        questions = (
            (self._samples[self._order.row(gid)].question, generation.text)
            for gid, generations in ordered
            for generation in generations
        )
        verdicts = self._pool.judge(questions)
        for gid, generations in ordered:
            yield Group(
                gid=gid,
                sample=self._samples[self._order.row(gid)],
                trajectories=tuple(_trajectory(g, next(verdicts).verdict.score) for g in generations),
            )
        assert next(verdicts, None) is None, "more verdicts than completions"


def _trajectory(generation: Generation, score: Any) -> Trajectory:
    return Trajectory(
        k=generation.k,
        text=generation.text,
        token_ids=generation.token_ids,
        logprobs=generation.logprobs,
        versions=generation.versions,
        finish_reason=generation.finish_reason,
        score=score,
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file up to the first torn one."""
    found: list[dict[str, Any]] = []
    with path.open(encoding="utf-8", newline="\n") as file:  # completions may hold other line ends
        for line in file:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return found


def _complete(lines: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Return the lines of groups that have all their completions."""
    kept: list[dict[str, Any]] = []
    for _, part in groupby(lines, key=lambda line: line["group_id"]):
        group = list(part)
        if len(group) == size:
            kept += group
    return kept
