"""The learner: weights and optimizer on accelerate; one process, or several with DDP or DeepSpeed.

Rank 0 is called by the loop and tells the other ranks what to do; they `obey` (see `ranks`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers.integrations import unset_hf_deepspeed_config

from ovrl.errors import UsageError
from ovrl.records import Sample
from ovrl.rollout import prompt
from ovrl.rollout.policy import Policy
from ovrl.rollout.prompt import Prompt
from ovrl.train import layout, views
from ovrl.train.adapter import Adapter
from ovrl.train.aggregation import Totals
from ovrl.train.batch import Batch, Item
from ovrl.train.feed import EMPTY, Feed
from ovrl.train.forward import Scorer
from ovrl.train.layout import EncodedPrompt
from ovrl.train.ranks import Order, Ranks
from ovrl.train.recipe import Recipe
from ovrl.train.schedule import Schedule
from ovrl.train.settings import TrainSettings
from ovrl.train.share import Part, cost, cut, split
from ovrl.train.step import Tally, accumulate
from ovrl.train.trainable import checkpoint_activations, freeze, optimizer
from ovrl.train.trainer_state import TrainerState
from ovrl.train.trajectory import Trajectory
from ovrl.train.weights import Weights


@dataclass(frozen=True, slots=True)
class Record:
    """A completion as it travels to another rank: a row number in place of the prompt, no pixels."""

    row: int
    group: int
    trajectory: Trajectory
    advantage: Sequence[float]


@dataclass(frozen=True, slots=True)
class Work:
    """One step."""

    number: int
    records: Sequence[Record]
    shares: Sequence[Sequence[Sequence[int]]]
    """Numbers of the completions by mini-batch and rank."""


_ELSEWHERE = Prompt([], ())
"""Stands for a prompt that this rank has not built."""


class Learner:
    """Moves the weights of a policy."""

    def __init__(
        self,
        policy: Policy,
        recipe: Recipe,
        settings: TrainSettings,
        *,
        samples: Sequence[Sample] = (),
        ranks: Ranks | None = None,
    ) -> None:
        """Take the policy over: its weights change in place from now on.

        Args:
            policy: loaded on every rank.
            recipe: the method.
            settings: resolved settings.
            samples: what prompts are built from; needed on several ranks, the same on each.
            ranks: the processes; None: this one alone.

        Raises:
            UsageError: the settings ask for what the model has not, or do not go together.
        """
        self.policy = policy
        self.recipe = recipe
        self._settings = settings
        self._schedule = Schedule(settings)
        self._samples = samples
        self._rows = {sample.id: row for row, sample in enumerate(samples)}
        self._ranks = ranks or Ranks.join(settings)
        self._accelerator = self._ranks.accelerator
        if self._ranks.count > 1 and len(self._rows) < len(samples):
            raise UsageError("several samples have the same id, by which ranks name them to each other")
        options = settings.learner
        adapter = Adapter(policy, options.lora_rank, options.lora_alpha) if options.lora_rank else None
        freeze(policy.model, tower=options.freeze_vision, projector=options.freeze_projector)
        if options.gradient_checkpointing:
            checkpoint_activations(policy.model)
        scorer = Scorer(policy)
        self._image_token = scorer.image_token
        moved_by = optimizer(policy.model, settings.optimizer)
        self._model, self._optimizer = cast(Any, self._accelerator).prepare(scorer, moved_by)
        unset_hf_deepspeed_config()  # or models that are loaded later, for an engine, would be shared out as well
        self._weights = Weights(policy, adapter, sharded=self._ranks.zero == 3)
        self._state = TrainerState(self._ranks, self._model, self._optimizer, adapter)
        self._reference: Scorer | None = None
        self._width = int(cast(Any, policy.model.config.get_text_config()).hidden_size)

    @property
    def in_place(self) -> bool:
        """Whether the policy's model always holds the weights that `weights` yields, so that an engine can share it."""
        return self._weights.in_place

    def keep_near(self, reference: Policy) -> None:
        """Find the log-probabilities under a policy that stays, too.

        Args:
            reference: on the device of the training; `policy` itself under LoRA: as it is without the adapter.
        """
        assert (reference is self.policy) == (self._weights.adapter is not None), (
            "only beside an adapter a policy stays"
        )
        self._reference = Scorer(reference)

    def step(self, items: Sequence[Item], number: int) -> dict[str, Any]:
        """Make one step from the items and return its figures; None for what is not finite.

        The gradient is the mean over all sampled tokens of an update, however they are packed and shared out.

        Args:
            items: completions with their advantages; at least one.
            number: of the step, from 0; decides the learning rate.

        Raises:
            OvrlError: a rank failed to prepare its share, and nothing has changed; or a rank has ended.
        """
        self._enter(number)
        shares = self._shares(items)
        if self._ranks.count > 1:
            records = [Record(self._rows[i.sample_id], i.group, i.trajectory, i.advantage) for i in items]
            self._ranks.tell("step", Work(number, records, shares))
        with self._ranks.watching():
            return self._work(items, shares, number)

    def obey(self, order: Order) -> None:
        """Do what rank 0 tells, in the same collectives."""
        if order.verb == "step":
            work: Work = order.values
            self._enter(work.number)
            items = [
                Item(_ELSEWHERE, r.trajectory, r.advantage, r.group, self._samples[r.row].id) for r in work.records
            ]
            self._work(items, work.shares, work.number)
        elif order.verb == "gather":
            self._weights.follow(adapter=order.values)
        elif order.verb == "save_state":
            self._state.save(order.values)
        else:
            assert order.verb == "load_state", order.verb
            self._state.load(order.values)

    def _enter(self, number: int) -> None:
        """Go to the settings of a step."""
        self._now = self._schedule.at(number)
        self.recipe.use(self._now.objective, longest=self._now.sampling.max_new_tokens)

    def _shares(self, items: Sequence[Item]) -> list[list[list[int]]]:
        """Return the numbers of the items, by mini-batch and rank; whole groups are in one mini-batch."""
        groups = list(dict.fromkeys(item.group for item in items))
        updates = min(self.recipe.objective.minibatches, len(groups))
        members = {group: [i for i, item in enumerate(items) if item.group == group] for group in groups}
        shares: list[list[list[int]]] = []
        for update in range(updates):
            chosen = groups[update::updates]
            order = [i for group in chosen for i in members[group]]
            costs: dict[int, list[float]] = {}
            for group in chosen:
                one = items[members[group][0]].prompt
                size = 0 if self._ranks.count == 1 else layout.estimated_tokens(self.policy, one)
                lengths = [len(items[i].trajectory.token_ids) for i in members[group]]
                costs[group] = [cost(size, self._width), *(cost(size + n, self._width) - size for n in lengths)]
            shares.append([[order[i] for i in share] for share in split(costs, self._ranks.count)])
        return shares

    def _work(self, items: Sequence[Item], shares: Sequence[Sequence[Sequence[int]]], number: int) -> dict[str, Any]:
        """Make one step together with the other ranks."""
        self._model.train()
        lr = self._set_rate(number)
        mine = [share[self._ranks.rank] for share in shares]
        firsts = {items[i].group: items[i] for share in mine for i in share}
        built = self._ranks.together(lambda: self._built(firsts))
        prompts = self._ranks.together(lambda: self._encoded(built))
        plans = [self._cut(items, prompts, share) for share in mine]
        counts = [max(found) for found in zip(*self._ranks.gather([len(plan) for plan in plans]), strict=True)]
        feed = Feed(
            items,
            prompts,
            [[*plan, *[EMPTY] * (count - len(plan))] for plan, count in zip(plans, counts, strict=True)],
            pad_id=self.policy.pad_id,
            image_token=self._image_token,
            device=self._accelerator.device,
        )
        found = self._before(feed)
        shown = self._ranks.together(lambda: self._shown(firsts, built, prompts, number))
        tally, norms, skipped = Tally(), list[float](), False
        for update, share in enumerate(shares):
            totals = Totals.of([items[i] for part in share for i in part])
            seen = {name: self._seen(feed, update, changed) for name, changed in shown.items()}
            norm, finite = self._update(feed.batches(update, found | seen), counts[update], totals, tally)
            norms.append(norm)
            skipped |= not finite
        tally = Tally.merged(self._ranks.gather(tally))
        figures = tally.figures() | {"grad_norm": math.fsum(norms) / len(norms), "lr": lr}
        return {
            **{name: value if math.isfinite(value) else None for name, value in figures.items()},
            "tokens_trained": tally.tokens,
            "update_skipped": skipped,
        }

    def _built(self, firsts: Mapping[int, Item]) -> dict[int, Prompt]:
        """Return the prompt of each of this rank's groups."""
        pixels = self._settings.batch.max_pixels
        return {
            group: prompt.build(self._samples[self._rows[item.sample_id]], max_pixels=pixels)
            if item.prompt is _ELSEWHERE
            else item.prompt
            for group, item in firsts.items()
        }

    def _encoded(self, built: Mapping[int, Prompt]) -> dict[int, EncodedPrompt]:
        """Return the prompts encoded, once for the whole step."""
        return dict(zip(built, layout.encode(self.policy, list(built.values())), strict=True))

    def _shown(
        self,
        firsts: Mapping[int, Item],
        built: Mapping[int, Prompt],
        prompts: Mapping[int, EncodedPrompt],
        number: int,
    ) -> dict[str, dict[int, EncodedPrompt]]:
        """Return the prompts under each view of the recipe; those without images are the same objects as before."""
        shown: dict[str, dict[int, EncodedPrompt]] = {}
        for view in views.distinct(self.recipe.views):
            changed = {
                group: views.shown(view, one, firsts[group].sample_id, step=number, seed=self.recipe.seed)
                for group, one in built.items()
                if one.images
            }
            shown[f"logp@{view.name}"] = {**prompts, **self._encoded(changed)}
        return shown

    def _cut(self, items: Sequence[Item], prompts: Mapping[int, EncodedPrompt], share: Sequence[int]) -> list[Part]:
        packing = self._settings.learner.packing
        if self._image_token is None:
            packing = "padded"  # whoever puts images in place by itself wants one completion in a row
        return cut(
            {i: items[i].group for i in share},
            {group: len(prompts[group].ids) for group in {items[i].group for i in share}},
            {i: len(items[i].trajectory.token_ids) for i in share},
            packing="cheaper" if packing == "auto" else packing,
            budget=self._now.batch.max_tokens,
            width=self._width,
        )

    def _before(self, feed: Feed) -> dict[str, dict[int, list[float]]]:
        """Return the log-probabilities under the policy as it is before the step, and the reference, where needed."""
        found: dict[str, dict[int, list[float]]] = {}
        if self.recipe.objective.anchor == "recompute":
            found["proximal"] = feed.score(self._model)
        if self._reference is not None and self._weights.adapter is not None:
            with self._weights.adapter.disabled():
                found["logp@ref"] = feed.score(self._model)
        elif self._reference is not None:
            with self._accelerator.autocast():
                found["logp@ref"] = feed.score(self._reference)
        return found

    def _seen(self, feed: Feed, update: int, changed: Mapping[int, EncodedPrompt]) -> dict[int, list[float]]:
        """Return the log-probabilities under a view by the weights as they are; NaN where there is no image."""
        found = feed.score(self._model, update=update, prompts=changed)
        return {i: values if feed.has_images(i) else [math.nan] * len(values) for i, values in found.items()}

    def _update(self, batches: Iterator[Batch], count: int, totals: Totals, tally: Tally) -> tuple[float, bool]:
        """Make one optimizer update; return the norm of the gradient, and whether it was finite and so applied."""
        for i, batch in enumerate(batches):
            last = i == count - 1

            def backward(loss: Tensor, last: bool = last) -> None:
                scaled = loss * self._ranks.count  # gradients are averaged over the ranks, and we want their sum
                if self._ranks.zero:
                    self._model.set_gradient_accumulation_boundary(last)
                    self._model.backward(scaled)
                else:
                    cast(Any, self._accelerator).backward(scaled)

            with nullcontext() if last or self._ranks.zero else self._apart():
                accumulate(self._model, batch, self.recipe, totals=totals, tally=tally, backward=backward)
        if self._ranks.zero:
            self._model.step()
            skipped = bool(self._optimizer.optimizer.overflow)
            return float("nan") if skipped else float(self._model.get_global_grad_norm()), not skipped
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), self._now.optimizer.clip_norm)
        finite = bool(torch.isfinite(cast(Tensor, norm)))
        if finite:  # a step with an infinite gradient would end the run; it is left out and reported
            self._optimizer.step()
        self._optimizer.zero_grad()
        return float(cast(Tensor, norm)), finite

    def _apart(self) -> AbstractContextManager[Any]:
        """Return a context in which gradients are added up without a word to the other ranks."""
        return self._accelerator.no_sync(self._model)

    def _set_rate(self, number: int) -> float:
        """Set and return the learning rate of a step: a linear rise, then as scheduled; and what else AdamW goes by."""
        options = self._now.optimizer
        lr = options.lr * min(1.0, (number + 1) / max(1, options.warmup_steps))
        for group in self._optimizer.param_groups:
            group.update(
                lr=lr, betas=(options.beta1, options.beta2), eps=options.eps, weight_decay=options.weight_decay
            )
        if self._ranks.zero:
            self._optimizer.optimizer.clip_grad = options.clip_norm
        return lr

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights by name, as an engine loads them; those of an adapter are added in."""
        yield from self._gathered(adapter=False)

    def _gathered(self, *, adapter: bool) -> Iterator[tuple[str, Tensor]]:
        if self._weights.sharded:
            self._ranks.tell("gather", adapter)
        yield from self._weights.lead(adapter=adapter)

    def save(self, path: Path) -> None:
        """Write model and processor as a Hugging Face directory; an adapter beside it, in `adapter/`."""
        if self.in_place:
            self.policy.save(path)
        else:
            adapter = dict(self._gathered(adapter=True)) if self._weights.adapter is not None else {}
            self._weights.save(path, dict(self.weights()), adapter)

    def save_state(self, path: Path) -> None:
        """Write what a resumed run needs beyond the weights: optimizer and random generators."""
        if self._ranks.zero:  # else rank 0 has all of it
            self._ranks.tell("save_state", path)
        self._state.save(path)

    def load_state(self, path: Path) -> None:
        """Read back what `save_state` wrote; the weights come from the policy."""
        if self._ranks.count > 1:
            self._ranks.tell("load_state", path)
        self._state.load(path)
