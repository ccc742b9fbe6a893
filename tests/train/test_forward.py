"""The forward pass against the model's own, called the plain way: one completion with its prompt and images."""

import pytest
import torch

from ovrl.rollout.policy import Policy
from ovrl.rollout.tiny import make_tiny
from ovrl.train import forward
from ovrl.train.feed import EMPTY
from ovrl.train.forward import Scorer
from training import feed, made_items, mixed_samples, one_batch

FAMILIES = ("qwen2_5_vl", "llavaonevision1_5")


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request, tmp_path_factory) -> Policy:
    folder = tmp_path_factory.mktemp(request.param)
    make_tiny(folder, seed=4, texts=[one.question.problem for one in mixed_samples()], family=request.param)
    return Policy.load(str(folder))


def plainly(policy: Policy, item) -> torch.Tensor:
    """Return the log-probability of each token of one completion, by transformers alone."""
    encoded = policy.encode([item.prompt])
    reply = torch.tensor([item.trajectory.token_ids])
    extras = dict(encoded.extras)
    if "mm_token_type_ids" in extras:
        extras["mm_token_type_ids"] = torch.cat([extras["mm_token_type_ids"], torch.zeros_like(reply)], dim=1)
    out = policy.model(
        input_ids=torch.cat([encoded.input_ids, reply], dim=1),
        attention_mask=torch.ones(1, encoded.input_ids.shape[1] + reply.shape[1], dtype=torch.long),
        use_cache=False,
        **extras,
    )
    logits = out.logits[0, encoded.input_ids.shape[1] - 1 : -1].float()
    logits[:, policy.banned_ids()] = -torch.inf
    return logits.log_softmax(-1).gather(1, reply[0].unsqueeze(1)).squeeze(1)


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    found = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in policy.model.named_parameters()
    }
    policy.model.zero_grad()
    return found


@pytest.fixture(scope="module")
def wanted(policy):
    """Log-probabilities and gradient of a weighted sum of them, the plain way."""
    items = made_items(policy, mixed_samples())
    policy.model.zero_grad()
    found = [plainly(policy, item) for item in items]
    sum((logp * item.advantage[0]).sum() for logp, item in zip(found, items, strict=True)).backward()
    return items, [logp.detach() for logp in found], gradients(policy)


@pytest.mark.parametrize("packing", ["padded", "shared", "packed", "cheaper"])
@pytest.mark.parametrize("budget", [100_000, 60])
def test_every_packing_finds_the_same_log_probabilities_and_gradients(policy, wanted, packing, budget):
    items, logps, grads = wanted
    scorer = Scorer(policy)
    made = feed(policy, items, packing=packing, budget=budget)
    for part in made.plans[0]:
        batch = made.batch(part, {})
        logp, entropy = scorer(batch)
        (logp * batch.advantage).sum().backward()
        assert (entropy[batch.mask] > 0).all()
        for row, item in enumerate(part.items):
            assert torch.allclose(logp[row][batch.mask[row]], logps[item], atol=1e-5), (packing, item)
        assert (logp[~batch.mask] == 0).all()
    for name, value in gradients(policy).items():
        assert torch.allclose(value, grads[name], atol=1e-5), name


@pytest.fixture
def patches_seen(policy, monkeypatch):
    """What is handed to the vision tower, call by call."""
    seen: list[int] = []
    tower = policy.model.visual if hasattr(policy.model, "visual") else policy.model.model.visual
    handle = tower.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    yield seen
    handle.remove()


@pytest.mark.parametrize("packing", ["padded", "shared", "packed"])
def test_the_images_of_a_group_are_seen_once(policy, wanted, packing, patches_seen):
    items, _, _ = wanted
    made = feed(policy, items, packing=packing)
    (part,) = made.plans[0]
    Scorer(policy)(made.batch(part, {}))
    once = sum(len(policy.encode([p]).extras["pixel_values"]) for p in {id(i.prompt): i.prompt for i in items}.values()
               if p.images)  # fmt: skip
    assert patches_seen == [once]


def test_text_alone_still_runs_the_tower_and_gives_it_no_gradient(policy, patches_seen):
    items = made_items(policy, mixed_samples()[:1])
    batch, _ = one_batch(policy, items)
    policy.model.zero_grad()
    logp, _ = Scorer(policy)(batch)
    logp.sum().backward()
    assert patches_seen == [4]
    grads = {name: weight.grad for name, weight in policy.model.named_parameters()}
    assert all(grad is not None for grad in grads.values())
    assert all((grad == 0).all() for name, grad in grads.items() if "visual" in name)
    assert any((grad != 0).any() for name, grad in grads.items() if "visual" not in name)


def test_a_rank_without_completions_runs_all_parts_and_adds_nothing(policy):
    made = feed(policy, made_items(policy, mixed_samples()[:1]))
    batch = made.batch(EMPTY, {})
    policy.model.zero_grad()
    logp, _ = Scorer(policy)(batch)
    assert not batch.mask.any()
    logp.sum().backward()
    assert all((grad == 0).all() for grad in gradients(policy).values())


def test_a_family_that_is_called_as_a_whole_agrees(policy, wanted, monkeypatch):
    items, logps, _ = wanted
    monkeypatch.setattr(forward.Anatomy, "of", staticmethod(lambda model: None))
    made = feed(policy, items)
    (part,) = made.plans[0]
    batch = made.batch(part, {})
    with torch.no_grad():
        logp, _ = Scorer(policy)(batch)
    for row, item in enumerate(part.items):
        assert torch.allclose(logp[row][batch.mask[row]], logps[item], atol=1e-5)
