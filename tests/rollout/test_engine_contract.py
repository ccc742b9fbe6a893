"""What every engine must keep, said once and asked of each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from builders import ref, sample
from ovrl.errors import OvrlError
from ovrl.rollout import prompt
from ovrl.rollout.cache import growing_cache
from ovrl.rollout.engine import Engine, Generation, Request, Sampling
from ovrl.rollout.fake import ScriptedEngine
from ovrl.rollout.policy import Policy
from ovrl.rollout.sampling import draw, mask_banned, truncate, uniforms
from ovrl.rollout.tiny import make_tiny
from ovrl.rollout.transformers_engine import TransformersEngine

NEW = 12

SAMPLES = {
    "one": sample("one", problem="<image>How many red circles are there, 1 or 2?"),
    "text": sample("text", images=(), problem="What is 35 + 7?"),
    "two": sample("two", images=(ref("red"), ref("blue", (72, 48))), problem="Is <image> like <image>?"),
    "long": sample("long", problem="<image>" + "circles " * 30, prompt_type="thinking"),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "model"
    make_tiny(path, seed=3, texts=["How many red circles are there?"] * 2)
    return path


@pytest.fixture(scope="module")
def policy(tiny: Path) -> Policy:
    """A random model for which every tenth word ends a reply, so that both ways to finish are met."""
    policy = Policy.load(str(tiny), device="cpu", dtype="float32")
    words = policy.tokenizer.convert_tokens_to_ids
    head = cast(Any, policy.model).get_output_embeddings().weight
    with torch.no_grad():
        head[words("<|image_pad|>")] = head[words("1")] * 1.5  # a control token that the model likes
    policy.eos_ids |= set(range(0, words("<|endoftext|>"), 10))
    return policy


Make = Callable[..., Engine]


@pytest.fixture(params=["scripted", "transformers"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "scripted":
        return lambda batch_size=8: ScriptedEngine(lambda asked, k, seed: f"{seed}" * (1 + seed % 4))
    policy: Policy = request.getfixturevalue("policy")
    return lambda batch_size=8: TransformersEngine(policy, batch_size=batch_size)


def ask(name: str, seeds: dict[int, int], **sampling: Any) -> Request:
    built = prompt.build(SAMPLES[name])
    return Request(id=name, prompt=built, seeds=seeds, sampling=Sampling(**{"max_new_tokens": NEW, **sampling}))


def group(name: str, count: int = 4, **sampling: Any) -> Request:
    return ask(name, {k: 1000 * list(SAMPLES).index(name) + k for k in range(count)}, **sampling)


def answers(engine: Engine, *requests: Request) -> dict[tuple[str, int], Generation]:
    made = list(engine.generate(iter(requests)))
    found = {(one.request_id, one.k): one for one in made}
    assert len(found) == len(made), "a seed was answered twice"
    return found


def test_each_seed_of_each_request_is_answered_once(make: Make):
    requests = [group("one"), ask("text", {3: 7}), group("two", 2), ask("long", {0: 5, 9: 6})]
    found = answers(make(), *requests)
    assert set(found) == {(request.id, k) for request in requests for k in request.seeds}
    assert answers(make()) == {}


def test_every_token_has_a_logprob_and_a_version_and_the_end_is_told(make: Make):
    finishes = set[str]()
    for one in answers(make(), *(group(name, 8) for name in SAMPLES)).values():
        finishes.add(one.finish_reason)
        assert 1 <= len(one.token_ids) == len(one.logprobs) == len(one.versions) <= NEW
        assert (one.finish_reason == "length") <= (len(one.token_ids) == NEW)
        assert all(value <= 0 for value in one.logprobs)
        assert one.prompt_tokens > 0
    assert finishes == {"stop", "length"}


def test_a_completion_does_not_know_what_is_beside_it(make: Make):
    together = answers(make(batch_size=64), *(group(name) for name in SAMPLES))
    for batch_size in (1, 5):
        assert tokens(answers(make(batch_size), *(group(name) for name in reversed(SAMPLES)))) == tokens(together)
    for (name, k), one in together.items():
        alone = answers(make(), ask(name, {k: group(name).seeds[k]}))[name, k]
        assert (alone.token_ids, alone.finish_reason, alone.prompt_tokens) == (
            one.token_ids,
            one.finish_reason,
            one.prompt_tokens,
        )
        assert alone.logprobs == pytest.approx(one.logprobs, abs=1e-4)


def tokens(found: dict[tuple[str, int], Generation]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {key: one.token_ids for key, one in found.items()}


def test_seeds_make_the_difference(make: Make):
    found = answers(make(), ask("one", {0: 11, 1: 11, 2: 12345}))
    assert found["one", 0].token_ids == found["one", 1].token_ids != found["one", 2].token_ids


def test_what_is_sampled_after_a_load_carries_its_version(make: Make):
    engine = make()
    assert engine.version == 0
    weights = engine.policy.model.state_dict().items() if isinstance(engine, TransformersEngine) else ()
    engine.load(weights, 3)
    assert engine.version == 3
    assert {version for one in answers(engine, group("one")).values() for version in one.versions} == {3}


def test_requests_are_pulled_when_there_is_room(make: Make):
    """A prompt that is built early grows old in a queue."""
    pulled: list[str] = []

    def requests() -> Iterator[Request]:
        for name in SAMPLES:
            pulled.append(name)
            yield group(name, 4)

    next(iter(make(batch_size=4).generate(requests())))
    assert len(pulled) <= 2


def test_a_scripted_engine_dies_as_told():
    engine = ScriptedEngine(lambda asked, k, seed: "x", fail_after=2)
    made: list[Generation] = []
    with pytest.raises(OvrlError):
        made.extend(engine.generate([group("text")]))
    generations = ScriptedEngine(lambda asked, k, seed: "x", fail_after=2).generate([group("text")])
    assert [next(generations).k, next(generations).k] == [0, 1]


# What only a model can show.


@torch.no_grad()
def full_pass(policy: Policy, name: str, one: Generation) -> torch.Tensor:
    """Return the log-probabilities [T, v] of one forward pass over prompt and completion, without a cache."""
    encoded = policy.encode([prompt.build(SAMPLES[name])])
    ids = torch.cat([encoded.input_ids, torch.tensor([one.token_ids])], dim=1)
    extras = dict(encoded.extras)
    if "mm_token_type_ids" in extras:
        kinds = extras["mm_token_type_ids"]
        extras["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(one.token_ids))], dim=1)
    out = cast(Any, policy.model)(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **extras)
    logits = out.logits[0, encoded.input_ids.shape[1] - 1 : -1].float()
    logits[:, policy.banned_ids()] = -torch.inf
    return logits.log_softmax(dim=-1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_a_full_forward_pass(policy: Policy, temperature: float):
    engine = TransformersEngine(policy, batch_size=64)
    found = answers(engine, *(group(name, temperature=temperature) for name in SAMPLES))
    for (name, _), one in found.items():
        want = full_pass(policy, name, one).gather(1, torch.tensor(one.token_ids)[:, None])[:, 0]
        assert one.logprobs == pytest.approx(want.tolist(), abs=1e-4)


def test_temperature_zero_takes_the_likeliest_token(policy: Policy):
    found = answers(TransformersEngine(policy, batch_size=8), *(group(n, 2, temperature=0.0) for n in SAMPLES))
    for (name, _), one in found.items():
        assert full_pass(policy, name, one).argmax(dim=-1).tolist() == list(one.token_ids)


@pytest.mark.parametrize("sampling", [{"top_k": 3}, {"top_p": 0.2}, {"top_k": 1}])
def test_truncation_keeps_to_the_likeliest_tokens(policy: Policy, sampling: dict[str, Any]):
    for (name, _), one in answers(TransformersEngine(policy, batch_size=8), group("one", 3, **sampling)).items():
        probabilities = full_pass(policy, name, one).exp()
        for row, token in zip(probabilities, one.token_ids, strict=True):
            likelier = row[row > row[token] * 1.0001]
            assert len(likelier) < sampling.get("top_k", len(row))
            assert likelier.sum() < sampling.get("top_p", 1.0)


def test_banned_tokens_never_appear(policy: Policy):
    pad = policy.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    banned = set(policy.banned_ids())
    assert pad in banned
    assert not banned & policy.eos_ids
    found = answers(TransformersEngine(policy, batch_size=64), group("one", 24), group("text", 24))
    assert not banned & {token for one in found.values() for token in one.token_ids}


def test_new_weights_change_what_is_sampled_and_old_ones_bring_it_back(policy: Policy, tmp_path: Path):
    engine = TransformersEngine(policy, batch_size=8)
    own = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    before = tokens(answers(engine, group("one")))
    make_tiny(tmp_path / "other", seed=4, texts=["How many red circles are there?"] * 2)
    engine.load(tmp_path / "other", 1)
    assert tokens(answers(engine, group("one"))) != before
    engine.load(own.items(), 2)
    assert tokens(answers(engine, group("one"))) == before


def test_sampling_leaves_the_model_as_it_found_it(policy: Policy):
    policy.model.train()
    state = torch.get_rng_state()
    answers(TransformersEngine(policy, batch_size=8), group("text", 2))
    assert policy.model.training
    assert torch.equal(torch.get_rng_state(), state)
    policy.model.eval()


# Drawing, by hand.

WORDS = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()


@pytest.mark.parametrize(
    ("chance", "token"),
    [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.2999, 1), (0.3001, 2), (0.5999, 2), (0.6001, 3), (1 - 2**-53, 3)],
)
def test_a_draw_inverts_the_cumulative_distribution(chance: float, token: int):
    ids, logprobs = draw(WORDS, torch.tensor([chance], dtype=torch.float64), Sampling())
    assert ids.tolist() == [token]
    assert logprobs.tolist() == pytest.approx([WORDS[0, token].item()])


@pytest.mark.parametrize("chance", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("banned", [[0], [3], [0, 1, 3]])
def test_a_banned_word_is_not_drawn_at_any_chance(chance: float, banned: list[int]):
    mask = torch.zeros(4, dtype=torch.bool)
    mask[banned] = True
    logits = mask_banned(WORDS, mask)
    ids, logprobs = draw(logits, torch.tensor([chance], dtype=torch.float64), Sampling())
    assert ids.item() not in banned
    left = 1 - WORDS.exp()[0, banned].sum()
    assert logprobs.exp().item() == pytest.approx((WORDS.exp()[0, ids] / left).item())


def test_the_logprob_is_that_before_temperature_and_truncation():
    for sampling in (Sampling(temperature=0.0), Sampling(temperature=0.01), Sampling(top_k=1), Sampling(top_p=0.1)):
        ids, logprobs = draw(WORDS, torch.tensor([0.5], dtype=torch.float64), sampling)
        assert (ids.item(), logprobs.exp().item()) == (3, pytest.approx(0.4))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 0, "top_p": 1.0}, [0, 1, 2, 3]),
        ({"top_k": 2, "top_p": 1.0}, [2, 3]),
        ({"top_k": 9, "top_p": 1.0}, [0, 1, 2, 3]),
        ({"top_k": 0, "top_p": 0.39}, [3]),
        ({"top_k": 0, "top_p": 0.41}, [2, 3]),  # 0.4 does not reach it
        ({"top_k": 0, "top_p": 0.71}, [1, 2, 3]),
        ({"top_k": 0, "top_p": 0.0}, [3]),  # the likeliest always stays
        ({"top_k": 2, "top_p": 0.5}, [3]),  # of the two that are left, 0.4 is 57%
    ],
)
def test_truncation_by_hand(options: dict[str, Any], kept: list[int]):
    assert truncate(WORDS, **options)[0].isfinite().nonzero()[:, 0].tolist() == kept


def test_chance_depends_on_the_seed_alone():
    assert np.array_equal(uniforms(7, 5), uniforms(7, 50)[:5])
    assert not np.array_equal(uniforms(7, 5), uniforms(8, 5))
    drawn = uniforms(2**63 - 1, 4000)
    assert 0 <= drawn.min() < drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)


def test_the_growing_cache_holds_what_a_dynamic_cache_holds(policy: Policy):
    config = cast(Any, policy.model.config).get_text_config()
    ours, theirs = growing_cache(config), DynamicCache(config=config)
    generator = torch.Generator().manual_seed(0)

    def feed(count: int, rows: int) -> None:
        for layer in range(config.num_hidden_layers):
            pair = [torch.randn(rows, 4, count, 24, generator=generator) for _ in range(2)]
            for got, want in zip(ours.update(*pair, layer), theirs.update(*pair, layer), strict=True):
                assert torch.equal(got, want)

    feed(5, rows=2)
    for cache in (ours, theirs):
        cache.batch_select_indices(torch.tensor([0, 0, 1]))
    for _ in range(40):  # past the first room
        feed(1, rows=3)
    for cache in (ours, theirs):
        cache.batch_select_indices(torch.tensor([2, 0]))
    feed(50, rows=2)
    feed(1, rows=2)
    assert ours.get_seq_length() == theirs.get_seq_length() == 96
