"""A rank's share of a step as micro-batches, and what is found out about its tokens before the first update."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ovrl.train.batch import Batch, Item, collate
from ovrl.train.layout import EncodedPrompt
from ovrl.train.share import Part

EMPTY = Part(())
"""What a rank passes through the model while others still have completions."""

Found = Mapping[str, Mapping[int, Sequence[float]]]
"""Log-probabilities of the tokens of each completion, by name: `proximal`, `logp@ref`, `logp@<view>`."""


class Feed:
    """The micro-batches of a step, as many on every rank, though the completions may be fewer."""

    def __init__(
        self,
        items: Sequence[Item],
        prompts: Mapping[int, EncodedPrompt],
        plans: Sequence[Sequence[Part]],
        *,
        pad_id: int,
        image_token: int | None,
        device: torch.device,
    ) -> None:
        """Take the share.

        Args:
            items: all completions of the step.
            prompts: those of this rank's groups, by number of the group.
            plans: the micro-batches of each update, filled up to as many as other ranks have.
            pad_id: fills rows up.
            image_token: see `layout.arrange`.
            device: of the model.
        """
        self.plans = plans
        self._items = items
        self._prompts = prompts
        self._pad_id = pad_id
        self._image_token = image_token
        self._device = device

    def batch(self, part: Part, found: Found, prompts: Mapping[int, EncodedPrompt] | None = None) -> Batch:
        """Return a micro-batch as tensors.

        Args:
            part: which completions.
            found: log-probabilities to put into it.
            prompts: of their groups; None: as they were asked.
        """
        made = collate(
            part,
            self._items,
            self._prompts if prompts is None else prompts,
            found,
            pad_id=self._pad_id,
            image_token=self._image_token,
        )
        return made.to(self._device)

    def has_images(self, item: int) -> bool:
        """Return whether the prompt of a completion of this rank has images."""
        return bool(self._prompts[self._items[item].group].images)

    def batches(self, update: int, found: Found) -> Iterator[Batch]:
        """Yield the micro-batches of an update."""
        for part in self.plans[update]:
            yield self.batch(part, found)

    def score(
        self, model: Any, *, update: int | None = None, prompts: Mapping[int, EncodedPrompt] | None = None
    ) -> dict[int, list[float]]:
        """Return the log-probabilities of the tokens of the share under a model, by completion.

        Args:
            model: see `Scorer`.
            update: whose micro-batches; None: those of all.
            prompts: of the groups; None: as they were asked.
        """
        found: dict[int, list[float]] = {}
        plans = self.plans if update is None else [self.plans[update]]
        with torch.no_grad():
            for part in (part for plan in plans for part in plan):
                batch = self.batch(part, {}, prompts)
                logp, _ = model(batch)
                rows = zip(part.items, logp.tolist(), batch.mask.sum(dim=1).tolist(), strict=False)
                found |= {item: values[:count] for item, values, count in rows}
        return found
