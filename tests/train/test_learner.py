"""The learner against the engine, and against itself packed differently."""

import pytest
import torch

from ovrl.records import Score, derive_seed
from ovrl.rollout import prompt
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.policy import Policy
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.train import batch
from ovrl.train.batch import Item
from ovrl.train.learner import Learner
from ovrl.train.recipe import Recipe
from ovrl.train.trajectory import Group, Trajectory
from training import made_items, one_batch


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
    both, _ = one_batch(policy, items)
    with torch.no_grad():
        logp, entropy = learner._model(both)
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
    both, _ = one_batch(policy, items)
    logp, _ = learner._model(both)
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
    both, order = one_batch(policy, items)

    def likelihood() -> list[float]:
        with torch.no_grad():
            logp, _ = learner._model(both)
        return [total for _, total in sorted(zip(order, logp.sum(dim=1).tolist(), strict=True))]

    bad, good = likelihood()
    for number in range(3):
        learner.step(items, number)
    bad_after, good_after = likelihood()
    assert items[0].advantage[0] < 0 < items[1].advantage[0]
    assert good_after - bad_after > good - bad


@pytest.mark.parametrize("tower", [False, True])
@pytest.mark.parametrize("projector", [False, True])
def test_what_is_frozen_keeps_its_weights_and_the_rest_moves(model, samples, tiny_settings, tower, projector):
    policy = Policy.load(model)
    items = made_items(policy, samples[:2])
    settings = tiny_settings(learner={"device": "cpu", "freeze_vision": tower, "freeze_projector": projector})
    learner = Learner(policy, Recipe(settings.objective), settings)
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    learner.step(items, 0)
    changed = {n for n, v in policy.model.state_dict().items() if not torch.equal(v, before[n])}
    assert any("language_model" in name for name in changed)
    assert any("visual.blocks" in name for name in changed) is not tower
    assert any("visual.merger" in name for name in changed) is not projector
