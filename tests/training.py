"""A step's completions made up: any tokens, of any length, behind prompts with and without images."""

import random
from collections.abc import Sequence

import torch

from builders import ref, sample
from ovrl.records import Sample, Score
from ovrl.rollout import prompt
from ovrl.rollout.policy import Policy
from ovrl.train import batch
from ovrl.train.batch import Batch, Item
from ovrl.train.feed import Feed
from ovrl.train.forward import Scorer
from ovrl.train.layout import encode
from ovrl.train.share import Packing, cut
from ovrl.train.trajectory import Group, Trajectory


def mixed_samples() -> list[Sample]:
    """Return prompts with no image, one, and two of different sizes."""
    return [
        sample("plain", problem="How many is one and two?", images=()),
        sample("one", problem="<image>How many squares?", images=(ref("red", (48, 24)),)),
        sample("two", problem="Is <image> larger than <image>?", images=(ref("blue"), ref("green", (24, 72)))),
        sample("long", problem="Look: <image>\n" + "What is the colour of it? " * 3, images=(ref("red", (72, 72)),)),
    ]


def made_items(policy: Policy, samples: Sequence[Sample], *, size: int = 3, seed: int = 0) -> list[Item]:
    """Return groups of random tokens with rewards; nobody has sampled them, so any model can be asked for them."""
    rng = random.Random(seed)
    banned = set(policy.banned_ids())
    words = [word for word in range(len(policy.tokenizer)) if word not in banned]
    groups: list[Group] = []
    for number, one in enumerate(samples):
        lengths = [rng.randint(1, 9) for _ in range(size)]
        made = tuple(
            Trajectory(
                k=k,
                text="",
                token_ids=tuple(rng.choices(words, k=length)),
                logprobs=tuple(-5.6 + rng.gauss(0, 0.3) for _ in range(length)),
                versions=(0,) * length,
                finish_reason="length" if length > 7 else "stop",
                score=Score(reward=rng.random()),
            )
            for k, length in enumerate(lengths)
        )
        groups.append(Group(gid=number, sample=one, trajectories=made))
    credit = [[[t.score.reward - 0.5] * len(t.token_ids) for t in group.trajectories] for group in groups]
    return batch.items(groups, [prompt.build(one) for one in samples], credit)


def feed(policy: Policy, items: Sequence[Item], *, packing: Packing = "padded", budget: int = 100_000) -> Feed:
    """Return the items as micro-batches."""
    firsts = {item.group: item.prompt for item in items}
    prompts = dict(zip(firsts, encode(policy, list(firsts.values())), strict=True))
    plan = cut(
        {i: item.group for i, item in enumerate(items)},
        {group: len(encoded.ids) for group, encoded in prompts.items()},
        {i: len(item.trajectory.token_ids) for i, item in enumerate(items)},
        packing=packing,
        budget=budget,
        width=96,
    )
    return Feed(items, prompts, [plan], pad_id=policy.pad_id, image_token=Scorer(policy).image_token,
                device=torch.device("cpu"))  # fmt: skip


def one_batch(policy: Policy, items: Sequence[Item]) -> tuple[Batch, list[int]]:
    """Return all items as one micro-batch, and which row is which item."""
    made = feed(policy, items)
    (part,) = made.plans[0]
    return made.batch(part, {}), part.items
