"""The learner: weights and optimizer on accelerate. One step is one optimizer update."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ovrl.errors import UsageError
from ovrl.rollout.policy import Policy
from ovrl.train import views
from ovrl.train.aggregation import Totals
from ovrl.train.batch import Batch, Item, collate, micro_batches
from ovrl.train.recipe import Recipe
from ovrl.train.settings import TrainSettings
from ovrl.train.step import Tally, accumulate, token_logp


class Learner:
    """Moves the weights of a policy."""

    def __init__(self, policy: Policy, recipe: Recipe, settings: TrainSettings) -> None:
        """Take the policy over: its weights change in place from now on."""
        self.policy = policy
        self._recipe = recipe
        self._settings = settings
        options = settings.learner
        cuda = policy.device.type == "cuda"
        low = options.precision == "bfloat16" or (options.precision == "auto" and cuda)
        self._accelerator = Accelerator(cpu=not cuda, mixed_precision="bf16" if low else "no")
        if self._accelerator.num_processes > 1:
            raise UsageError("ovrl train runs in one process so far; start it without `accelerate launch`")
        if options.freeze_vision:
            _freeze_vision(policy.model)
        if options.gradient_checkpointing:
            policy.model.gradient_checkpointing_enable()
        optimizer = settings.optimizer
        self._optimizer = torch.optim.AdamW(
            [weight for weight in policy.model.parameters() if weight.requires_grad],
            lr=optimizer.lr,
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
        )
        self._model, self._optimizer = cast(Any, self._accelerator).prepare(policy.model, self._optimizer)
        self._banned = policy.banned()

    def step(self, items: Sequence[Item], number: int) -> dict[str, Any]:
        """Make one optimizer update from the items of a step and return its figures; None for what is not finite.

        The gradient is the mean over all sampled tokens of the step, however they are packed.

        Args:
            items: completions with their advantages; at least one.
            number: of the step, from 0; decides the learning rate.
        """
        self._model.train()
        lr = self._set_rate(number)
        prompts = self._prompt_tokens(items)
        tally = Tally()
        totals = Totals.of(items)
        for part in micro_batches(items, prompts, self._settings.batch.max_tokens):
            batch = collate(self.policy, part)
            batch = replace(batch, aux=self._viewed(part, batch, number))
            accumulate(
                self._model,
                batch,
                self._recipe,
                self._banned,
                totals=totals,
                tally=tally,
                backward=cast(Any, self._accelerator).backward,
            )
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), self._settings.optimizer.clip_norm)
        finite = bool(torch.isfinite(cast(Tensor, norm)))
        if finite:  # a step with an infinite gradient would end the run; it is left out and reported
            self._optimizer.step()
        self._optimizer.zero_grad()
        figures = tally.figures() | {"grad_norm": float(cast(Tensor, norm)), "lr": lr}
        return {
            **{name: value if math.isfinite(value) else None for name, value in figures.items()},
            "tokens_trained": tally.tokens,
            "update_skipped": not finite,
        }

    def _viewed(self, part: Sequence[Item], batch: Batch, number: int) -> dict[str, Tensor]:
        """Return the log-probabilities under each view of the recipe, [b, t]; NaN where there is no image."""
        found: dict[str, Tensor] = {}
        for view in views.distinct(self._recipe.views):
            logp = torch.full_like(batch.behaviour, torch.nan)
            if changed := views.under(view, part, step=number, seed=self._recipe.seed):
                seen = collate(self.policy, list(changed.values()))
                with torch.no_grad():
                    values, _ = token_logp(self._model, seen, self._banned)
                logp[list(changed), : values.shape[1]] = values
            found[f"logp@{view.name}"] = logp
        return found

    def _set_rate(self, number: int) -> float:
        """Set and return the learning rate of a step: a linear rise, then constant."""
        options = self._settings.optimizer
        lr = options.lr * min(1.0, (number + 1) / max(1, options.warmup_steps))
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _prompt_tokens(self, items: Sequence[Item]) -> list[int]:
        """Return the length of each item's prompt; a group's prompt is encoded once."""
        prompts = {id(item.prompt): item.prompt for item in items}
        lengths = dict(zip(prompts, self.policy.encode(list(prompts.values())).lengths, strict=True))
        return [lengths[id(item.prompt)] for item in items]

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights by name, as an engine loads them."""
        yield from self.policy.model.state_dict().items()

    def save(self, path: Path) -> None:
        """Write model and processor as a Hugging Face directory."""
        self.policy.save(path)

    def save_state(self, path: Path) -> None:
        """Write what a resumed run needs beyond the weights: optimizer and random generators."""
        state = {
            "optimizer": self._optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        }
        torch.save(state, path)

    def load_state(self, path: Path) -> None:
        """Read back what `save_state` wrote; the weights come from the policy."""
        state = torch.load(path, weights_only=False)
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        np.random.set_state(state["numpy_rng"])
        random.setstate(state["python_rng"])


def _freeze_vision(model: Any) -> None:
    tower = next(
        (
            part
            for owner in (model, getattr(model, "model", None))
            for name in ("visual", "vision_tower", "vision_model")
            if (part := getattr(owner, name, None)) is not None
        ),
        None,
    )
    if tower is None:
        raise UsageError("train.learner.freeze_vision: this model has no vision tower that ovrl knows")
    for weight in tower.parameters():
        weight.requires_grad = False
