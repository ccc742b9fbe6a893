"""The learner against the engine, and against itself packed differently."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from ovrl.records import Score, derive_seed
from ovrl.rollout import prompt
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.policy import Policy
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.train import batch
from ovrl.train.batch import Item
from ovrl.train.forward import Scorer
from ovrl.train.learner import Learner
from ovrl.train.recipe import Recipe
from ovrl.train.trajectory import Group, Trajectory
from training import made_items, mixed_samples, one_batch


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


def learner_of(model: str, chosen, **more) -> Learner:
    return Learner(Policy.load(model), Recipe(chosen.objective), chosen, **more)


def weights_of(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in learner.weights()}


def test_mini_batches_make_an_update_each_against_the_policy_before_the_step(model, tiny_settings):
    """By hand: two optimizer steps, the ratio of the second to what the first one started from."""
    objective = {"minibatches": 2, "anchor": "recompute"}
    chosen = tiny_settings(objective=objective, optimizer={"lr": 1e-2, "eps": 1e-2, "clip_norm": 1e9})
    learner = learner_of(model, chosen)
    items = made_items(learner.policy, mixed_samples()[:2])
    figures = learner.step(items, 0)
    assert figures["clip_fraction"] > 0

    other = learner_of(model, chosen)
    optimizer = torch.optim.AdamW(other.policy.model.parameters(), lr=1e-2, eps=1e-2, weight_decay=0.01)
    halves = [one_batch(other.policy, [item for item in items if item.group == group])[0] for group in (0, 1)]
    with torch.no_grad():
        before = [other._model(half)[0][half.mask] for half in halves]
    for half, proximal in zip(halves, before, strict=True):
        optimizer.zero_grad()
        logp, gain = other._model(half)[0][half.mask], half.advantage[half.mask]
        weight = (proximal - half.behaviour[half.mask]).exp()
        weight = torch.where((weight < 0.5) | (weight > 5), 0.0, weight)
        ratio = (logp - proximal).exp()
        (-weight * torch.minimum(ratio * gain, ratio.clamp(0.8, 1.28) * gain)).mean().backward()
        optimizer.step()
    wanted = weights_of(other)
    assert max(float((value - wanted[name]).abs().max()) for name, value in weights_of(learner).items()) < 1e-6


class Near(Recipe):
    """Keeps near to the reference; remembers what it was given."""

    def extra_losses(self, batch, logp):
        self.seen = batch.aux["logp@ref"], logp.detach(), batch.mask
        return {}


@pytest.mark.parametrize("rank", [0, 4])
def test_the_reference_is_the_policy_of_the_start(model, tiny_settings, rank):
    chosen = tiny_settings(learner={"device": "cpu", "lora_rank": rank}, optimizer={"lr": 1e-2})
    policy = Policy.load(model)
    recipe = Near(chosen.objective)
    learner = Learner(policy, recipe, chosen)
    learner.keep_near(policy if rank else Policy.load(model))
    items = made_items(policy, mixed_samples()[:2])
    learner.step(items, 0)
    reference, logp, mask = recipe.seen
    assert torch.allclose(reference, logp, atol=1e-5)
    learner.step(items, 1)
    again, logp, _ = recipe.seen
    assert torch.allclose(again[mask], reference[mask], atol=1e-6)
    assert not torch.allclose(again[mask], logp[mask], atol=1e-3)


@dataclass(frozen=True)
class Dark:
    """No light at all."""

    name: str = "dark"

    def image(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return Image.new("RGB", image.size)


class Seeing(Recipe):
    """Keeps the log-probabilities under a view, by the tokens of the completion."""

    views = (Dark(),)

    def extra_losses(self, batch, logp):
        for ids, mask, values in zip(batch.ids, batch.mask, batch.aux["logp@dark"], strict=True):
            self.seen[tuple(ids[mask].tolist())] = values[mask]
        return {}


@pytest.mark.parametrize("objective", [{}, {"minibatches": 2, "anchor": "recompute"}])
@pytest.mark.parametrize("packing", ["padded", "shared"])
def test_a_view_is_what_the_policy_says_to_the_changed_image(model, tiny_settings, objective, packing):
    """Compared with the policy asked about prompts whose images are black from the start; lr 0, so that it stays."""
    chosen = tiny_settings(
        objective=objective,
        optimizer={"lr": 0},
        learner={"device": "cpu", "packing": packing},
        batch={"groups": 4, "max_tokens": 150},
    )
    recipe = Seeing(chosen.objective)
    recipe.seen = {}
    learner = Learner(Policy.load(model), recipe, chosen)
    items = made_items(learner.policy, mixed_samples())
    learner.step(items, 0)
    dark = [
        replace(item, prompt=replace(item.prompt, images=tuple(Image.new("RGB", i.size) for i in item.prompt.images)))
        for item in items
    ]
    both, _ = one_batch(learner.policy, dark)
    with torch.no_grad():
        logp, _ = learner._model(both)
    assert len(recipe.seen) == len(items)
    for ids, mask, wanted, group in zip(both.ids, both.mask, logp, both.groups, strict=True):
        found = recipe.seen[tuple(ids[mask].tolist())]
        if mixed_samples()[int(group)].images:
            assert torch.allclose(found, wanted[mask], atol=1e-5)
        else:
            assert found.isnan().all()


def test_a_step_is_made_by_the_settings_that_the_schedule_gives_it(model, tiny_settings):
    curves = {
        "optimizer.lr": {"points": [[0, 1e-2], [2, 0.0]]},
        "objective.minibatches": {"shape": "steps", "points": [[0, 1], [2, 2]]},
    }
    learner = learner_of(model, tiny_settings(objective={"anchor": "recompute"}, schedules=curves))
    items = made_items(learner.policy, mixed_samples()[:2])
    assert learner.step(items, 1)["lr"] == pytest.approx(5e-3)
    before = weights_of(learner)
    assert learner.step(items, 2)["lr"] == 0
    assert learner.recipe.objective.minibatches == 2
    assert all(torch.equal(value, before[name]) for name, value in weights_of(learner).items())


def test_lora_trains_the_adapter_and_writes_it_merged_and_beside(model, tiny_settings, tmp_path):
    chosen = tiny_settings(learner={"device": "cpu", "lora_rank": 4}, optimizer={"lr": 1e-2})
    learner = learner_of(model, chosen)
    before = {name: value.clone() for name, value in Policy.load(model).model.state_dict().items()}
    assert not learner.in_place
    items = made_items(learner.policy, mixed_samples())
    for number in range(2):
        learner.step(items, number)
    learner.save(tmp_path / "merged")
    saved = Policy.load(str(tmp_path / "merged"))
    after = saved.model.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "language_model.layers" in name and name.endswith("proj.weight")}
    assert (tmp_path / "merged" / "adapter" / "adapter_model.safetensors").exists()
    both, _ = one_batch(saved, items)
    with torch.no_grad():
        assert torch.allclose(Scorer(saved)(both)[0], learner._model(both)[0], atol=1e-5)
        assert not torch.allclose(Scorer(Policy.load(model))(both)[0], learner._model(both)[0], atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"lora_rank": 4}, {"gradient_checkpointing": True}])
def test_a_learner_goes_on_from_what_it_wrote(model, tiny_settings, tmp_path, options):
    chosen = tiny_settings(learner={"device": "cpu", **options})
    whole = learner_of(model, chosen)
    items = made_items(whole.policy, mixed_samples()[:2])
    whole.step(items, 0)
    whole.save(tmp_path / "point")
    whole.save_state(tmp_path / "trainer.pt")
    whole.step(items, 1)
    resumed = learner_of(model if "lora_rank" in options else str(tmp_path / "point"), chosen)
    resumed.load_state(tmp_path / "trainer.pt")
    resumed.step(items, 1)
    wanted = weights_of(whole)
    assert all(torch.equal(value, wanted[name]) for name, value in weights_of(resumed).items())


def test_gradient_checkpointing_and_packing_do_not_change_the_update(model, tiny_settings):
    found = []
    for options in (
        {"packing": "padded"},
        {"packing": "packed"},
        {"packing": "shared", "gradient_checkpointing": True},
    ):
        chosen = tiny_settings(learner={"device": "cpu", **options}, optimizer={"lr": 1e-2, "eps": 1e-2})
        learner = learner_of(model, chosen)
        learner.step(made_items(learner.policy, mixed_samples()), 0)
        found.append(weights_of(learner))
    for other in found[1:]:
        assert max(float((value - found[0][name]).abs().max()) for name, value in other.items()) < 1e-6


def test_bfloat16_computes_in_16_bits_and_keeps_the_weights_in_32(model, tiny_settings):
    AcceleratorState._reset_state()
    try:
        chosen = tiny_settings(learner={"device": "cpu", "precision": "bfloat16"})
        learner = learner_of(model, chosen)
        kinds = set()
        layer = learner.policy.model.get_decoder().layers[0].mlp
        layer.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
        figures = learner.step(made_items(learner.policy, mixed_samples()), 0)
        assert kinds == {torch.bfloat16}
        assert {value.dtype for value in learner.policy.model.parameters()} == {torch.float32}
        assert figures["grad_norm"] > 0
        assert figures["update_skipped"] is False
    finally:
        AcceleratorState._reset_state()


def test_each_prompt_is_encoded_once_in_a_step(model, tiny_settings, monkeypatch):
    chosen = tiny_settings(batch={"groups": 4, "max_tokens": 60}, objective={"minibatches": 2, "anchor": "recompute"})
    learner = learner_of(model, chosen)
    items = made_items(learner.policy, mixed_samples())
    asked = []
    encode = Policy.encode
    monkeypatch.setattr(Policy, "encode", lambda self, prompts: asked.extend(map(id, prompts)) or encode(self, prompts))
    learner.step(items, 0)
    assert sorted(asked) == sorted({id(item.prompt) for item in items})


def test_a_gradient_that_is_not_finite_is_left_out_and_reported(model, tiny_settings):
    learner = learner_of(model, tiny_settings())
    items = made_items(learner.policy, mixed_samples()[:1])
    bad = [replace(items[0], advantage=[float("inf")] * len(items[0].advantage)), *items[1:]]
    before = weights_of(learner)
    figures = learner.step(bad, 0)
    assert figures["update_skipped"] is True
    assert figures["grad_norm"] is None
    assert all(torch.equal(value, before[name]) for name, value in weights_of(learner).items())
