"""Where tokens stand: completions and their prompts become rows of one forward pass.

A branch is one completion behind its prompt; a tree is a prompt, read once, with the branches that grow from it; a row
holds one tree or, packed, several. A token looks back at its own branch and at the prompt of its tree, so what it sees
is what it would see alone, in whichever row it stands:

    padded   one completion in a tree, one tree in a row     P a a a . .
    shared   the completions of a group in a tree            P a a a b b
    packed   one completion in a tree, all trees in one row  P a a a P b b

Axes: r rows, n tokens of the longest row, b completions, t tokens of the longest completion, p tokens of a prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovrl.rollout.policy import Policy
from ovrl.rollout.prompt import Prompt

_CHUNK = 8
"""Prompts that are encoded together: their pixels are in memory twice for a moment."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the model takes it, on the CPU, without padding."""

    ids: Tensor
    """[p]."""
    positions: Tensor
    """[p], or [3, p] for models that place image tokens on a grid."""
    follows: int
    """Position of the first token of a reply."""
    images: dict[str, Tensor]
    """As the processor made them; empty without images."""
    per_token: dict[str, Tensor]
    """[p] each: what else the processor made for every token."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A prompt and the completions that are trained behind it."""

    prompt: EncodedPrompt
    branches: Sequence[Sequence[int]]
    """The sampled tokens of each completion."""

    def __len__(self) -> int:
        """Return its tokens."""
        return len(self.prompt.ids) + sum(map(len, self.branches))


@dataclass(frozen=True, slots=True)
class Layout:
    """The inputs of a forward pass, and where its results are."""

    ids: Tensor
    """[r, n]."""
    positions: Tensor
    """[r, n] or [3, r, n]."""
    tree: Tensor
    """[r, n] number of the tree in the micro-batch; -1 on padding."""
    branch: Tensor
    """[r, n] number of the branch in its tree, from 1; 0 on prompts."""
    where: Tensor
    """[b, t] place in [r x n] of the token that predicts this one; 0 on padding."""
    images: dict[str, Tensor]
    """Each image once."""
    spread: Tensor
    """[image tokens] which row of the features stands there, in the order of [r x n]."""
    per_token: dict[str, Tensor]
    """[r, n] each."""
    branching: bool
    """Whether a row holds more than one branch, so that looking back needs a mask."""

    def attention(self) -> Tensor | None:
        """Return who looks at whom, [r, 1, n, n] bool; None: at everything before, padding being behind."""
        if not self.branching:
            return None
        same_tree = self.tree.unsqueeze(2) == self.tree.unsqueeze(1)
        same_branch = (self.branch.unsqueeze(2) == self.branch.unsqueeze(1)) | (self.branch == 0).unsqueeze(1)
        return (same_tree & same_branch).tril().unsqueeze(1)

    def lengths(self) -> Tensor:
        """Return the lengths of the trees of one packed row, added up from 0, int32 as flash attention wants them."""
        counts = torch.bincount(self.tree[0][self.tree[0] >= 0])
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int32)

    def to(self, device: torch.device) -> "Layout":
        """Return it on a device."""

        def moved(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.to(device, non_blocking=True) for name, value in values.items()}

        tensors = (self.ids, self.positions, self.tree, self.branch, self.where)
        ids, positions, tree, branch, where = (value.to(device, non_blocking=True) for value in tensors)
        return Layout(
            ids, positions, tree, branch, where, moved(self.images), self.spread.to(device), moved(self.per_token),
            self.branching,
        )  # fmt: skip


def estimated_tokens(policy: Policy, prompt: Prompt) -> float:
    """Return about how many tokens a prompt will have, without looking at its pixels."""
    parts = [part for message in prompt.messages for part in message["content"]]
    words = policy.tokenizer(" ".join(part.get("text", "") for part in parts), add_special_tokens=False)
    processor = getattr(policy.processor, "image_processor", None)
    side = getattr(processor, "patch_size", 14) * getattr(processor, "merge_size", 2)
    side = side if isinstance(side, int) else 28
    return len(words["input_ids"]) + sum(image.width * image.height for image in prompt.images) / side**2


def encode(policy: Policy, prompts: Sequence[Prompt]) -> list[EncodedPrompt]:
    """Return each prompt as tensors."""
    made: list[EncodedPrompt] = []
    for start in range(0, len(prompts), _CHUNK):
        together = policy.encode(prompts[start : start + _CHUNK])
        positions, offsets = policy.positions(together.input_ids, together.attention_mask, together.extras)
        for i, count in enumerate(together.image_counts):
            one = together.repeat([i])
            real = one.attention_mask[0].bool()
            per_token = {name: value for name, value in one.extras.items() if value.shape == one.input_ids.shape}
            images = {name: value for name, value in one.extras.items() if name not in per_token}
            made.append(
                EncodedPrompt(
                    ids=one.input_ids[0, real].cpu(),
                    positions=positions[..., i, real].cpu(),
                    follows=int(real.sum() + offsets[i]),
                    images={name: value.cpu() for name, value in images.items()} if count else {},
                    per_token={name: value[0, real].cpu() for name, value in per_token.items()},
                )
            )
    return made


def arrange(rows: Sequence[Sequence[Tree]], *, pad_id: int, image_token: int | None) -> Layout:
    """Return the layout of rows of trees, on the CPU.

    Args:
        rows: at least one tree in each; the completions are numbered as they stand here.
        pad_id: fills rows up, on the right.
        image_token: what stands for images in prompts; None: images are not spread, for models that do so themselves.
    """
    trees = [tree for row in rows for tree in row]
    width = max(sum(map(len, row)) for row in rows)
    grid = trees[0].prompt.positions.shape[:-1]
    shape = (len(rows), width)
    ids, branch = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    tree_number = torch.full(shape, -1)
    positions = torch.arange(width).expand(*grid, *shape).clone()
    per_token = {name: value.new_zeros(shape) for name, value in trees[0].prompt.per_token.items()}
    longest = max(1, *(len(tokens) for tree in trees for tokens in tree.branches))
    where = torch.zeros(sum(len(tree.branches) for tree in trees), longest, dtype=torch.long)
    number = completion = 0
    for r, row in enumerate(rows):
        at = 0
        for tree in row:
            prompt, start = tree.prompt, at
            at += len(prompt.ids)
            ids[r, start:at], positions[..., r, start:at] = prompt.ids, prompt.positions
            for name, value in prompt.per_token.items():
                per_token[name][r, start:at] = value
            for k, tokens in enumerate(tree.branches, start=1):
                end = at + len(tokens)
                places = torch.arange(at, end)
                ids[r, at:end], branch[r, at:end] = torch.tensor(tokens, dtype=torch.long), k
                positions[..., r, at:end] = prompt.follows + torch.arange(len(tokens))
                before = torch.cat([torch.tensor([start + len(prompt.ids) - 1]), places[:-1]])[: len(tokens)]
                where[completion, : len(tokens)] = r * width + before
                at, completion = end, completion + 1
            tree_number[r, start:at] = number
            number += 1
        if not grid:  # what follows continues to count, so that nobody takes the padding for a sequence of its own
            positions[r, at:] = positions[r, at - 1] + 1 + torch.arange(width - at)
    images, spread = _images(trees, image_token)
    return Layout(
        ids=ids,
        positions=positions,
        tree=tree_number,
        branch=branch,
        where=where,
        images=images,
        spread=spread,
        per_token=per_token,
        branching=any(len(row) > 1 or len(row[0].branches) > 1 for row in rows),
    )


def _images(trees: Sequence[Tree], image_token: int | None) -> tuple[dict[str, Tensor], Tensor]:
    """Return the images of the trees and which of their features each image token takes.

    A prompt that several trees share gives its images once.
    """
    distinct = {id(tree.prompt): tree.prompt for tree in trees}
    if image_token is None:
        seen = [tree.prompt for tree in trees if tree.prompt.images]
    else:
        seen = [prompt for prompt in distinct.values() if prompt.images]
    names = seen[0].images if seen else {}
    images = {name: torch.cat([prompt.images[name] for prompt in seen]) for name in names}
    if image_token is None:
        return images, torch.zeros(0, dtype=torch.long)
    places: dict[int, Tensor] = {}
    count = 0
    for key, prompt in distinct.items():
        tokens = int((prompt.ids == image_token).sum())
        places[key] = torch.arange(count, count + tokens)
        count += tokens
    return images, torch.cat([places[id(tree.prompt)] for tree in trees])
