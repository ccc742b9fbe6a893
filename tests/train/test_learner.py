"""The learner against the engine, and against itself packed differently."""

import pytest
import torch

from ovrl.records import Score, derive_seed
from ovrl.rollout import prompt
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.policy import Policy
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.train import batch
from ovrl.train.batch import Item, collate, micro_batches
from ovrl.train.learner import Learner
from ovrl.train.recipe import Recipe
from ovrl.train.step import token_logp
from ovrl.train.trajectory import Group, Trajectory


def sampled_items(policy: Policy, samples, size: int = 3) -> list[Item]:
    """Groups of the policy's own completions, with rewards 0, 1, 2, ..."""
    engine = TransformersEngine(policy, batch_size=64)
    prompts = [prompt.build(sample) for sample in samples]
    requests = [
        Request(
            id=str(i),
            prompt=p,
            seeds={k: derive_seed(9, i, k) for k in range(size)},
            sampling=Sampling(max_new_tokens=4 + 3 * i),
        )
        for i, p in enumerate(prompts)
    ]
    made: dict[int, list[Trajectory]] = {i: [] for i in range(len(samples))}
    for g in engine.generate(requests):
        made[int(g.request_id)].append(
            Trajectory(
                k=g.k,
                text=g.text,
                token_ids=g.token_ids,
                logprobs=g.logprobs,
                versions=g.versions,
                finish_reason=g.finish_reason,
                score=Score(reward=float(g.k)),
            )
        )
    groups = [Group(gid=i, sample=s, trajectories=tuple(made[i])) for i, s in enumerate(samples)]
    recipe = Recipe(None)  # type: ignore[arg-type]  # credit needs no objective
    return batch.items(groups, prompts, recipe.credit(groups))


def test_the_learner_finds_the_log_probabilities_that_the_engine_reported(model, samples, tiny_settings):
    policy = Policy.load(model)
    items = sampled_items(policy, samples)
    learner = Learner(policy, Recipe(tiny_settings().objective), tiny_settings())
    both = collate(policy, items)
    with torch.no_grad():
        logp, entropy = token_logp(policy.model, both, learner._banned)
    assert torch.allclose(logp[both.mask], both.behaviour[both.mask], atol=1e-4)
    assert (entropy[both.mask] > 0).all()


def test_one_micro_batch_or_many_make_the_same_update(model, samples, tiny_settings):
    after = []
    for budget in (100_000, 400, 1):
        policy = Policy.load(model)
        settings = tiny_settings(batch={"groups": 2, "group_size": 4, "max_tokens": budget})
        items = sampled_items(policy, samples)
        learner = Learner(policy, Recipe(settings.objective), settings)
        before = {name: value.clone() for name, value in policy.model.state_dict().items()}
        figures = learner.step(items, 0)
        moved = {n: v - before[n] for n, v in policy.model.state_dict().items() if v.is_floating_point()}
        after.append((moved, figures))
    (one, first), *others = after
    assert first["grad_norm"] > 0
    assert first["behaviour_gap_max"] < 1e-4
    for other, figures in others:
        assert figures["loss"] == pytest.approx(first["loss"], abs=1e-5)
        assert figures["grad_norm"] == pytest.approx(first["grad_norm"], rel=1e-3)
        assert figures["tokens_trained"] == first["tokens_trained"]
        # Adam's first step divides a gradient by itself: only signs are left where it is about 0.
        close = [torch.isclose(one[n], other[n], atol=2e-4).float().mean().item() for n in one]
        assert min(close) > 0.97


def test_the_gradient_is_the_token_mean_of_the_objective(model, samples, tiny_settings):
    """Against autograd on the formula written out once more, in one piece and without the loop's code."""
    policy = Policy.load(model)
    items = sampled_items(policy, samples)
    settings = tiny_settings(optimizer={"lr": 1e-3, "clip_norm": 1e9})
    learner = Learner(policy, Recipe(settings.objective), settings)
    both = collate(policy, items)
    logp, _ = token_logp(policy.model, both, learner._banned)
    logp = logp[both.mask]
    weight = (logp.detach() - both.behaviour[both.mask]).exp()
    by_hand = -(weight * (logp - logp.detach()).exp() * both.advantage[both.mask]).mean()
    by_hand.backward()
    wanted = torch.sqrt(sum((p.grad**2).sum() for p in policy.model.parameters() if p.grad is not None))
    policy.model.zero_grad()
    figures = learner.step(items, 0)
    assert figures["grad_norm"] == pytest.approx(float(wanted), rel=1e-3)
    assert figures["loss"] == pytest.approx(float(by_hand.detach()), abs=1e-5)


def test_a_good_reply_becomes_likelier_and_a_bad_one_rarer(model, samples, tiny_settings):
    policy = Policy.load(model)
    items = sampled_items(policy, samples[:1], size=2)
    learner = Learner(policy, Recipe(tiny_settings().objective), tiny_settings())
    both = collate(policy, items)

    def likelihood() -> list[float]:
        with torch.no_grad():
            logp, _ = token_logp(policy.model, both, learner._banned)
        return torch.where(both.mask, logp, 0.0).sum(dim=1).tolist()

    bad, good = likelihood()
    for number in range(3):
        learner.step(items, number)
    bad_after, good_after = likelihood()
    assert items[0].advantage[0] < 0 < items[1].advantage[0]
    assert good_after - bad_after > good - bad


@pytest.mark.parametrize("budget", [1, 50, 120, 10_000])
def test_micro_batches_hold_every_item_once_and_keep_the_budget(budget):
    lengths = [3, 30, 7, 7, 12, 1, 25]
    prompts = [10, 40, 10, 22, 10, 40, 10]
    items = [Item(None, Trajectory(k=i, text="", token_ids=(1,) * n, logprobs=(0.0,) * n, versions=(0,) * n,
                                   finish_reason="stop", score=Score(reward=0.0)), [0.0] * n)
             for i, n in enumerate(lengths)]  # fmt: skip
    parts = list(micro_batches(items, prompts, budget))
    assert sorted(item.trajectory.k for part in parts for item in part) == list(range(len(lengths)))
    for part in parts:
        width = max(prompts[i.trajectory.k] for i in part) + max(len(i.trajectory.token_ids) for i in part)
        assert len(part) == 1 or len(part) * width <= budget


def test_freezing_the_vision_tower_leaves_its_weights(model, samples, tiny_settings):
    policy = Policy.load(model)
    items = sampled_items(policy, samples)
    settings = tiny_settings(learner={"device": "cpu", "freeze_vision": True})
    learner = Learner(policy, Recipe(settings.objective), settings)
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    learner.step(items, 0)
    changed = {n for n, v in policy.model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert not any("visual" in name for name in changed)
