"""Groups become tensors: prompts padded on the left, completions on the right, packed into micro-batches.

Axes: b completions, p tokens of the longest prompt, t tokens of the longest completion.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ovrl.rollout.policy import Policy
from ovrl.rollout.prompt import Prompt
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

    input_ids: Tensor
    """[b, p + t]."""
    attention_mask: Tensor
    """[b, p + t] 0 on padding."""
    positions: Tensor
    """[b, p + t], or [3, b, p + t] for models that place image tokens on a grid."""
    extras: dict[str, Tensor]
    """Images, as the processor made them."""
    ids: Tensor
    """[b, t] the sampled tokens."""
    mask: Tensor
    """[b, t] True on sampled tokens."""
    behaviour: Tensor
    """[b, t] natural-log probabilities under the policy that sampled."""
    advantage: Tensor
    """[b, t]."""
    versions: Tensor
    """[b, t] policy version that sampled each token."""
    truncated: Tensor
    """[b] True where the limit cut the completion."""
    groups: Tensor
    """[b] number of the completion's group in the step, from 0."""
    rewards: Tensor
    """[b]; NaN where a completion could not be judged."""
    proximal: Tensor | None = None
    """[b, t] natural-log probabilities before the first update of the step; None: the policy itself is the anchor."""
    aux: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """[b, t] each: `logp@ref` under the reference policy, `logp@<view>` under a changed image."""


def items(
    groups: Sequence[Group], prompts: Sequence[Prompt], credit: Sequence[Sequence[Sequence[float]]]
) -> list[Item]:
    """Return the completions of a step, each with its prompt and advantages; those without any are left out."""
    return [
        Item(prompt, trajectory, advantage, index, group.sample.id)
        for index, (group, prompt, advantages) in enumerate(zip(groups, prompts, credit, strict=True))
        for trajectory, advantage in zip(group.trajectories, advantages, strict=True)
        if trajectory.token_ids and advantage
    ]


def micro_batches(step: Sequence[Item], prompt_tokens: Sequence[int], budget: int) -> Iterator[list[Item]]:
    """Yield the items in parts whose padded size is at most `budget` tokens; each item exactly once.

    A pure function of the lengths. An item that exceeds the budget gets a part of its own.

    Args:
        step: the items.
        prompt_tokens: length of each item's prompt.
        budget: padded tokens of a part: completions x (longest prompt + longest completion).
    """
    lengths = [len(item.trajectory.token_ids) for item in step]
    order = sorted(range(len(step)), key=lambda i: (lengths[i], prompt_tokens[i], i))
    part: list[int] = []
    for i in order:
        grown = [*part, i]
        size = len(grown) * (max(prompt_tokens[j] for j in grown) + max(lengths[j] for j in grown))
        if part and size > budget:
            yield [step[j] for j in part]
            grown = [i]
        part = grown
    if part:
        yield [step[j] for j in part]


def collate(policy: Policy, part: Sequence[Item]) -> Batch:
    """Return the tensors of a micro-batch on the policy's device."""
    prompts = {id(item.prompt): item.prompt for item in part}  # the completions of a group share theirs
    places = {key: place for place, key in enumerate(prompts)}
    encoded = policy.encode(list(prompts.values())).repeat([places[id(item.prompt)] for item in part])
    device = encoded.input_ids.device
    positions, offsets = policy.positions(encoded.input_ids, encoded.attention_mask, encoded.extras)
    longest = max(len(item.trajectory.token_ids) for item in part)
    lengths = torch.tensor([len(item.trajectory.token_ids) for item in part], device=device)
    mask = torch.arange(longest, device=device) < lengths.unsqueeze(1)
    ids = _padded([item.trajectory.token_ids for item in part], longest, policy.pad_id, torch.long, device)
    # A sampled token stands where the engine put it: behind the prompt's own tokens, moved by the images.
    prompt_lengths = encoded.attention_mask.sum(dim=1, keepdim=True)
    after = prompt_lengths + offsets + torch.arange(longest, device=device)
    after = after if policy.flat_positions else after.expand(3, -1, -1)
    return Batch(
        input_ids=torch.cat([encoded.input_ids, ids], dim=1),
        attention_mask=torch.cat([encoded.attention_mask, mask.to(encoded.attention_mask.dtype)], dim=1),
        positions=torch.cat([positions, after], dim=-1),
        extras=_extended(encoded.extras, encoded.input_ids, longest),
        ids=ids,
        mask=mask,
        behaviour=_padded([item.trajectory.logprobs for item in part], longest, 0.0, torch.float32, device),
        advantage=_padded([item.advantage for item in part], longest, 0.0, torch.float32, device),
        versions=_padded([item.trajectory.versions for item in part], longest, 0, torch.long, device),
        truncated=torch.tensor([item.trajectory.finish_reason == "length" for item in part], device=device),
        groups=torch.tensor([item.group for item in part], device=device),
        rewards=torch.tensor([_reward(item) for item in part], device=device),
    )


def _reward(item: Item) -> float:
    reward = item.trajectory.score.reward
    return math.nan if reward is None else reward


def _padded(
    rows: Sequence[Sequence[float]], width: int, fill: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the rows as one tensor [b, width], filled up on the right."""
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=dtype, device=device)


def _extended(extras: dict[str, Tensor], prompt_ids: Tensor, longest: int) -> dict[str, Tensor]:
    """Return the extras with zeros behind those that have one entry for each token."""
    return {
        name: torch.cat([value, value.new_zeros(len(value), longest)], dim=1)
        if value.shape == prompt_ids.shape
        else value
        for name, value in extras.items()
    }
