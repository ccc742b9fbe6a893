"""What only a model can show, beyond the contract of all engines."""

import copy
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from engines import PROMPTS, SAMPLES, answers, group, load_policy, make_model, tokens
from ovrl.errors import UsageError
from ovrl.rollout import batch
from ovrl.rollout.engine import Generation, Refusal
from ovrl.rollout.policy import Policy
from ovrl.rollout.tiny import Family
from ovrl.rollout.transformers_engine import TransformersEngine

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=get_args(Family))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("engine") / "model", request.param)


@pytest.fixture
def policy(tiny: Path) -> Policy:
    return load_policy(tiny)


@torch.no_grad()
def full_pass(policy: Policy, name: str, one: Generation) -> torch.Tensor:
    """Return the log-probabilities [T, v] of one forward pass over prompt and completion, without a cache."""
    encoded = policy.encode([PROMPTS[name]])
    ids = torch.cat([encoded.input_ids, torch.tensor([one.token_ids])], dim=1)
    extras = dict(encoded.extras)
    if "mm_token_type_ids" in extras:
        kinds = extras["mm_token_type_ids"]
        extras["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(one.token_ids))], dim=1)
    out: Any = policy.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **extras)
    logits = out.logits[0, encoded.input_ids.shape[1] - 1 : -1].float()
    logits[:, policy.banned_ids()] = -torch.inf
    return logits.log_softmax(dim=-1)


def chosen(logprobs: torch.Tensor, one: Generation) -> list[float]:
    return logprobs.gather(1, torch.tensor(one.token_ids)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_a_full_forward_pass(policy: Policy, temperature: float):
    engine = TransformersEngine(policy, batch_size=7)
    for (name, _), one in answers(engine, *(group(n, 6, temperature=temperature) for n in SAMPLES)).items():
        policy_logprobs = full_pass(policy, name, one)
        assert one.logprobs == pytest.approx(chosen(policy_logprobs, one), abs=1e-4)
        tempered = (policy_logprobs / temperature).log_softmax(dim=-1)
        assert one.sampling_logprobs == pytest.approx(chosen(tempered, one), abs=1e-4)


def test_temperature_zero_takes_the_likeliest_token(policy: Policy):
    found = answers(TransformersEngine(policy, batch_size=8), *(group(n, 2, temperature=0.0) for n in SAMPLES))
    for (name, _), one in found.items():
        assert full_pass(policy, name, one).argmax(dim=-1).tolist() == list(one.token_ids)


@pytest.mark.parametrize("sampling", [{"top_k": 3}, {"top_p": 0.2}, {"top_k": 1}])
def test_truncation_keeps_to_the_likeliest_tokens(policy: Policy, sampling: dict[str, Any]):
    for (name, _), one in answers(TransformersEngine(policy, batch_size=8), group("one", 3, **sampling)).items():
        probabilities = full_pass(policy, name, one).exp()
        for row, token, drawn in zip(probabilities, one.token_ids, one.sampling_logprobs, strict=True):
            likelier = row[row > row[token] * 1.0001]
            assert len(likelier) < sampling.get("top_k", len(row))
            assert likelier.sum() < sampling.get("top_p", 1.0)
            if "top_k" in sampling:
                kept = row.topk(sampling["top_k"]).values.sum()
                assert drawn == pytest.approx((row[token] / kept).log().item(), abs=1e-4)


def test_banned_tokens_never_appear(policy: Policy):
    pad = policy.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    banned = set(policy.banned_ids())
    assert pad in banned
    assert not banned & policy.eos_ids
    found = answers(TransformersEngine(policy, batch_size=64), group("one", 24), group("text", 24))
    assert not banned & {token for one in found.values() for token in one.token_ids}


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="other libraries may order sums by the shape")
def test_with_one_thread_neighbours_do_not_change_a_bit(policy: Policy):
    whole = answers(TransformersEngine(policy, batch_size=64), *(group(name, 12) for name in SAMPLES))
    for batch_size in (1, 5, 17):
        found = answers(TransformersEngine(policy, batch_size=batch_size), *(group(n, 12) for n in reversed(SAMPLES)))
        assert {key: one.logprobs for key, one in found.items()} == {key: one.logprobs for key, one in whole.items()}


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.0}, {"top_p": 0.8}, {"temperature": 1.5, "top_k": 40}])
def test_noise_in_the_batch_changes_no_token(policy: Policy, sampling: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """A rougher world: noise a thousand times as large as that of sums in another order, and a margin to match."""
    requests = [group(name, 16, **sampling) for name in SAMPLES]
    exact = tokens(answers(TransformersEngine(policy, batch_size=64), *requests))
    generator = torch.Generator().manual_seed(0)

    def disturb(module: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        together = logits.shape[0] > 1  # a pass of its own is the same each time
        return logits + together * 5e-3 * (2 * torch.rand(logits.shape, generator=generator) - 1)

    handle = policy.model.get_output_embeddings().register_forward_hook(disturb)
    try:
        if not sampling:
            monkeypatch.setattr(batch, "_MARGIN", 0.0)
            assert tokens(answers(TransformersEngine(policy, batch_size=64), *requests)) != exact
        monkeypatch.setattr(batch, "_MARGIN", 3e-3)
        assert tokens(answers(TransformersEngine(policy, batch_size=64), *requests)) == exact
    finally:
        handle.remove()


def test_steps_made_before_the_results_are_looked_at_change_no_token(policy: Policy, monkeypatch: pytest.MonkeyPatch):
    requests = [group(name, 6, stop=("1", " a")) for name in SAMPLES]
    whole = answers(TransformersEngine(policy, batch_size=7), *requests)
    monkeypatch.setattr(batch, "_STRIDE", {"cpu": 5})  # as on a GPU
    found = answers(TransformersEngine(policy, batch_size=7), *requests)
    assert tokens(found) == tokens(whole)
    assert all(len(one.token_ids) == len(one.versions) == len(one.logprobs) for one in found.values())


class _Count:
    """What the model has to read: patches of images, and prompts of more than one token."""

    def __init__(self, policy: Policy) -> None:
        self.patches: list[int] = []
        self.prompts: list[int] = []
        tower = next(module for name, module in policy.model.named_modules() if name.endswith("visual"))
        tower.register_forward_pre_hook(self._images, with_kwargs=True)
        policy.model.get_input_embeddings().register_forward_pre_hook(self._tokens, with_kwargs=True)

    def _images(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        self.patches.append(len(next(v for v in given if torch.is_tensor(v) and v.is_floating_point())))

    def _tokens(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = next(iter([*args, *kwargs.values()]))
        if ids.shape[1] > 1:
            self.prompts.append(ids.numel())


@pytest.mark.parametrize("batch_size", [64, 5])  # the smaller one splits the groups
def test_a_prompt_and_its_images_are_read_once_for_a_group(policy: Policy, batch_size: int):
    count = _Count(policy)
    found = answers(TransformersEngine(policy, batch_size=batch_size), *(group(name, 16) for name in SAMPLES))
    assert sorted(count.prompts) == sorted(found[name, 0].prompt_tokens for name in SAMPLES)
    encoded = [policy.encode([PROMPTS[name]]).extras for name in SAMPLES]
    assert sorted(count.patches) == sorted(len(one["pixel_values"]) for one in encoded if "pixel_values" in one)
    assert len(count.patches) == 3


def test_each_token_is_drawn_by_its_version_from_all_that_stands_before_it(tiny: Path):
    """Also what was read before an update is read again: the prompt, its images, and the reply so far."""
    versions = [load_policy(tiny)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        versions.append(copy.copy(versions[-1]))
        versions[-1].model = copy.deepcopy(versions[-2].model)
        with torch.no_grad():
            for weight in versions[-1].model.parameters():
                weight += 0.3 * weight.std() * torch.randn(weight.shape, generator=generator)
    engine = TransformersEngine(load_policy(tiny), batch_size=10)
    made: list[Generation] = []
    mixed = 0
    for one in engine.generate([group(name, 7) for name in SAMPLES]):
        assert isinstance(one, Generation)
        made.append(one)
        if len(made) in (2, 9):
            engine.load(versions[engine.version + 1].model.state_dict().items(), engine.version + 1)
    for one in made:
        mixed += len(set(one.versions)) > 1
        passes = [chosen(full_pass(version, one.request_id, one), one) for version in versions]
        want = [passes[version][t] for t, version in enumerate(one.versions)]
        assert one.logprobs == pytest.approx(want, abs=1e-4)
    assert mixed >= 5
    assert abs(passes[0][0] - passes[2][0]) > 0.01  # the versions can be told apart


def test_new_weights_change_what_is_sampled_and_old_ones_bring_it_back(policy: Policy, tiny: Path, tmp_path: Path):
    engine = TransformersEngine(policy, batch_size=8)
    own = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    before = tokens(answers(engine, group("one")))
    other = load_policy(tiny)
    with torch.no_grad():
        for weight in other.model.parameters():
            weight *= 1.1
    other.save(tmp_path)
    engine.load(tmp_path, 1)
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(policy.model.state_dict()[name], tensor)
    assert tokens(answers(engine, group("one"))) != before
    engine.load(own.items(), 2)
    assert tokens(answers(engine, group("one"))) == before


def test_weights_of_another_model_are_refused_and_nothing_changes(policy: Policy):
    engine = TransformersEngine(policy, batch_size=8)
    before = tokens(answers(engine, group("one")))
    good = {name: tensor + 1 for name, tensor in policy.model.state_dict().items()}
    first = next(name for name, tensor in good.items() if tensor.dim() == 1)
    for bad, words in (
        (good | {"no.such.weight": torch.zeros(1)}, "no.such.weight is unknown"),
        (good | {first: torch.zeros(1)}, f"{first} has the shape"),
        ({name: tensor for name, tensor in good.items() if name != first}, f"{first} is missing"),
    ):
        with pytest.raises(UsageError, match=words.replace(".", r"\.")):
            engine.load(bad.items(), 1)
    assert engine.version == 0
    assert tokens(answers(engine, group("one"))) == before


def test_a_reply_ends_where_the_context_does(policy: Policy):
    lengths = {name: policy.encode([PROMPTS[name]]).lengths[0] for name in SAMPLES}
    policy.model.config.get_text_config().max_position_embeddings = lengths["one"] + 5
    assert lengths["long"] > lengths["one"] + 5
    made = list(TransformersEngine(policy, batch_size=8).generate([group("long"), group("one", 16)]))
    assert [one.reason for one in made if isinstance(one, Refusal)] == [
        f"the prompt has {lengths['long']} tokens, and the model's context {lengths['one'] + 5}: no room for a reply"
    ]
    replies = [one for one in made if isinstance(one, Generation)]
    assert len(replies) == 16
    assert max(len(one.token_ids) for one in replies) == 5
    assert {one.finish_reason for one in replies if len(one.token_ids) < 5} == {"stop"}
    assert "length" in {one.finish_reason for one in replies}


def test_layers_that_forget_are_refused(policy: Policy):
    config = policy.model.config.get_text_config()
    config.sliding_window, config.layer_types = 8, ["sliding_attention"] * config.num_hidden_layers
    with pytest.raises(UsageError, match="attention to all tokens"):
        TransformersEngine(policy, batch_size=8)


def test_sampling_leaves_the_model_as_it_found_it(policy: Policy):
    policy.model.train()
    state = torch.get_rng_state()
    for _ in TransformersEngine(policy, batch_size=8).generate([group("text", 2)]):
        assert policy.model.training
        assert not torch.is_inference_mode_enabled()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_samples_what_the_cpu_computes(tiny: Path):
    here, there = load_policy(tiny), load_policy(tiny, "cuda")
    engine = TransformersEngine(there, batch_size=24)
    made: list[Generation] = []
    for one in engine.generate([group(name, 16) for name in SAMPLES]):
        assert isinstance(one, Generation)
        made.append(one)
        if len(made) == 5:
            engine.load(here.model.state_dict().items(), 1)
    assert len(made) == 64
    for one in made:
        assert one.logprobs == pytest.approx(chosen(full_pass(here, one.request_id, one), one), abs=1e-3)
        assert not set(one.token_ids) & set(here.banned_ids())
    assert {version for one in made for version in one.versions} == {0, 1}
