"""The completions of a step as tensors, in micro-batches.

Axes: b completions of a micro-batch, t tokens of the longest one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

import torch
from torch import Tensor

from ovrl.rollout.prompt import Prompt
from ovrl.train.layout import EncodedPrompt, Layout, Tree, arrange
from ovrl.train.share import Part
from ovrl.train.trajectory import Group, Trajectory


@dataclass(frozen=True, slots=True)
class Item:
    """One completion to be trained, with its prompt and its advantages."""

    prompt: Prompt
    trajectory: Trajectory
    advantage: Sequence[float]
    """[T] one for each sampled token."""
    group: int = 0
    """Number of its group in the step, from 0."""
    sample_id: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch: everything that a forward and backward pass needs."""

    layout: Layout
    """What the model is given. Losses need not look at it."""
    ids: Tensor
    """[b, t] the sampled tokens."""
    mask: Tensor
    """[b, t] True on sampled tokens."""
    behaviour: Tensor
    """[b, t] natural-log probabilities under the policy that sampled."""
    advantage: Tensor
    """[b, t]."""
    versions: Tensor
    """[b, t] policy version that sampled the token."""
    truncated: Tensor
    """[b] True where the limit cut the completion."""
    groups: Tensor
    """[b] number of the completion's group in the step, from 0."""
    rewards: Tensor
    """[b]; NaN where a completion could not be judged."""
    proximal: Tensor | None = None
    """[b, t] natural-log probabilities before the first update of the step; None: the policy itself is the anchor."""
    aux: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """[b, t] each, natural-log probabilities: `logp@ref` under the reference policy, `logp@<view>` a changed image."""

    def to(self, device: torch.device) -> "Batch":
        """Return it on a device."""
        moved: dict[str, Any] = {}
        for entry in fields(self):
            value: Any = getattr(self, entry.name)
            if isinstance(value, dict):
                named = cast(dict[str, Tensor], value)
                moved[entry.name] = {name: tensor.to(device, non_blocking=True) for name, tensor in named.items()}
            else:
                moved[entry.name] = None if value is None else value.to(device)
        return Batch(**moved)


def items(
    groups: Sequence[Group], prompts: Sequence[Prompt], credit: Sequence[Sequence[Sequence[float]]]
) -> list[Item]:
    """Return the completions of a step, each with its prompt and advantages; those without any are left out."""
    return [
        Item(prompt, trajectory, advantage, number, group.sample.id)
        for number, (group, prompt, advantages) in enumerate(zip(groups, prompts, credit, strict=True))
        for trajectory, advantage in zip(group.trajectories, advantages, strict=True)
        if trajectory.token_ids and advantage
    ]


def collate(
    part: Part,
    items: Sequence[Item],
    prompts: Mapping[int, EncodedPrompt],
    found: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    pad_id: int,
    image_token: int | None,
) -> Batch:
    """Return the tensors of a micro-batch, on the CPU.

    Args:
        part: which completions stand in which row; without any, the batch has one without a token.
        items: all completions, by number.
        prompts: by number of the group.
        found: further log-probabilities of the tokens by completion: `proximal`, and what goes into `aux`.
        pad_id: fills up.
        image_token: see `arrange`.
    """
    trees = [[Tree(prompts[unit.group], [items[i].trajectory.token_ids for i in unit.items]) for unit in row]
             for row in part.rows]  # fmt: skip
    chosen = [items[i] for i in part.items]
    if not chosen:
        trees = [[Tree(_nothing(pad_id, next(iter(prompts.values()), None)), [[]])]]
    layout = arrange(trees, pad_id=pad_id, image_token=image_token)
    width = layout.where.shape[1]
    counts = [len(item.trajectory.token_ids) for item in chosen] or [0]

    def padded(values: Sequence[Sequence[float]], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor([[*row, *[0] * (width - len(row))] for row in values or [[]]], dtype=dtype)

    extra = {name: padded([values[i] for i in part.items]) for name, values in found.items()}
    return Batch(
        layout=layout,
        ids=padded([item.trajectory.token_ids for item in chosen], torch.long),
        mask=torch.arange(width) < torch.tensor(counts).unsqueeze(1),
        behaviour=padded([item.trajectory.logprobs for item in chosen]),
        advantage=padded([item.advantage for item in chosen]),
        proximal=extra.pop("proximal", None),
        versions=padded([item.trajectory.versions for item in chosen], torch.long),
        truncated=torch.tensor([item.trajectory.finish_reason == "length" for item in chosen] or [False]),
        groups=torch.tensor([item.group for item in chosen] or [0]),
        rewards=torch.tensor([_reward(item) for item in chosen] or [0.0]),
        aux=extra,
    )


def _reward(item: Item) -> float:
    reward = item.trajectory.score.reward
    return math.nan if reward is None else reward


def _nothing(pad_id: int, like: EncodedPrompt | None) -> EncodedPrompt:
    """Return a prompt of one word, for a rank that has nothing left while others still have."""
    flat = like is None or like.positions.dim() == 1
    position = torch.zeros(1, dtype=torch.long)
    return EncodedPrompt(
        torch.full((1,), pad_id), position if flat else position.expand(3, -1), 1, {},
        {name: value.new_zeros(1) for name, value in (like.per_token if like else {}).items()},
    )  # fmt: skip
