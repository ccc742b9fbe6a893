"""What was seen to go wrong with live servers, each with what the engine makes of it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engines import PROMPTS, answers, ask, group
from ovrl.errors import OvrlError, UsageError
from ovrl.rollout.engine import Generation, Refusal, Request, Sampling
from ovrl.rollout.policy import Policy
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.prompt import Prompt
from ovrl.rollout.sglang import encoding, messages
from ovrl.rollout.sglang.client import Client
from ovrl.rollout.sglang.control import Control, Limits
from ovrl.rollout.sglang.encoding import EncodedPrompt
from ovrl.rollout.sglang.engine import SGLangEngine
from ovrl.rollout.sglang.failures import DistrustedError
from ovrl.rollout.sglang.messages import Dialect
from ovrl.rollout.sglang.scripted_traits import Kind, Traits
from recount import Recount
from servers import paced_engine, sampling, serving

BRIEF = Limits(control_s=20, update_s=20, stall_s=20, watch_s=0.05, patience_s=0.5)
MUTE = Limits(control_s=1.5)


def test_image_tokens_are_sent_unexpanded_and_counted_expanded(processor: PromptProcessor):
    for name, images in (("text", 0), ("one", 1), ("two", 2)):
        encoded = encoding.encode(processor, PROMPTS[name])
        assert isinstance(encoded, EncodedPrompt)
        read = Policy.load(processor.name).encode([PROMPTS[name]]).input_ids[0].tolist()
        assert encoded.input_ids.count(processor.image_id or -1) == len(encoded.images) == images
        assert encoded.prompt_tokens == len(read) >= len(encoded.input_ids)
        assert [i for i in encoded.input_ids if i != processor.image_id] == [i for i in read if i != processor.image_id]


def test_a_mark_that_the_text_itself_holds_is_refused_before_it_is_sent(processor: PromptProcessor):
    """An image token in the text of a problem would be a place without an image, or take another's image."""
    turn: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "What is <|image_pad|>?"}]}
    reason = encoding.encode(processor, Prompt([turn], ()))
    assert isinstance(reason, str)
    assert "1 image tokens for 0 images" in reason


def test_a_token_outside_of_the_vocabulary_never_reaches_a_server(model: Path):
    processor = PromptProcessor.load(str(model))
    processor.config.get_text_config().vocab_size = 100  # a server with a smaller model than the tokenizer is for
    reason = encoding.encode(processor, PROMPTS["text"])
    assert isinstance(reason, str)
    assert "outside of the model's vocabulary of 100" in reason


def test_a_server_that_counts_otherwise_is_not_believed(model: Path, processor: PromptProcessor):
    with (
        serving(model, processor, Traits(miscounts=True)) as servers,
        pytest.raises(UsageError, match=r"counts 38 tokens in a prompt with an image, and our processor 37"),
        sampling(servers, processor),
    ):
        pass


def test_who_counts_otherwise_for_one_prompt_gets_it_refused_with_both_figures(model: Path, processor: PromptProcessor):
    def script(number: int) -> Kind | None:
        return "wrong_length"

    with serving(model, processor, Traits(), script=script) as servers, sampling(servers, processor) as engine:
        (made,) = engine.generate([ask("text", {0: 1})])
        assert isinstance(made, Refusal)
        tokens = answers_of(processor, "text")
        assert f"counts {tokens + 3} prompt tokens where we count {tokens}" in made.reason
        assert engine.counts["prompt_tokens"] >= 3


def answers_of(processor: PromptProcessor, name: str) -> int:
    encoded = encoding.encode(processor, PROMPTS[name])
    assert isinstance(encoded, EncodedPrompt)
    return encoded.prompt_tokens


def test_no_control_token_is_sampled_and_every_word_of_the_vocabulary_may_end_up_in_a_reply(
    model: Path, processor: PromptProcessor
):
    with serving(model, processor, Traits(most=32)) as servers, sampling(servers, processor) as engine:
        found = answers(engine, *(ask("text", {k: k for k in range(100)}, max_new_tokens=40) for _ in range(1)))
    said = {token for one in found.values() for token in one.token_ids}
    assert not said & set(processor.banned_ids())
    assert processor.image_id in processor.banned_ids()


@pytest.mark.parametrize(
    ("sampling_", "original", "policy", "drawn"),
    [
        (Sampling(), False, [-1.0], [-1.0]),
        (Sampling(temperature=0), False, [-1.0], [0.0]),
        (Sampling(temperature=0.5), False, None, [-1.0]),  # the server's are tempered
        (Sampling(temperature=0.5), True, [-1.0], None),  # SGLANG_RETURN_ORIGINAL_LOGPROB=1
        (Sampling(top_k=3), False, [-1.0], [-0.5]),
        (Sampling(top_k=3, temperature=0.5), False, None, [-0.5]),
        (Sampling(top_p=0.9), False, [-1.0], None),  # a nucleus has no limit that a server would list
        (Sampling(top_k=1), False, [-1.0], [0.0]),
    ],
)
def test_each_log_probability_is_what_it_is_called_or_unknown(
    sampling_: Sampling, original: bool, policy: list[float] | None, drawn: list[float] | None
):
    meta: dict[str, Any] = {"output_token_logprobs": [[-1.0, 7, None]], "finish_reason": None, "prompt_tokens": 3}
    meta |= {"output_token_sampling_logprobs": [-0.5], "weight_versions": [{"version": "2", "start": 0, "end": 1}]}
    found = messages.segment({"output_ids": [7], "meta_info": meta}, sampling_, Dialect(original_logprobs=original))
    assert (found.versions, found.prompt_tokens) == (["2"], 3)
    for given, wanted in ((found.logprobs, policy), (found.sampling_logprobs, drawn)):
        assert [value == value for value in given] == ([True] if wanted else [False])
        assert wanted is None or given == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"output_ids": [8]},  # not the tokens of the log-probabilities
        {"output_ids": "7"},
        {"output_ids": [-7]},
        {"meta_info": None},
        {"weight_versions": [{"version": "2", "start": 0, "end": 2}]},  # more than there are
        {"weight_versions": [{"version": "2", "start": 1, "end": 1}]},
        {"finish_reason": {"type": "bored"}},
    ],
)
def test_an_answer_that_makes_no_sense_is_none(change: dict[str, Any]):
    meta: dict[str, Any] = {"output_token_logprobs": [[-1.0, 7, None]], "finish_reason": None, "weight_version": "2"}
    answer: dict[str, Any] = {"output_ids": [7], "meta_info": meta}
    assert messages.segment(answer, Sampling(), Dialect()).token_ids == [7]
    for key, value in change.items():
        (answer if key in answer else meta)[key] = value
    with pytest.raises(DistrustedError, match="no sense"):
        messages.segment(answer, Sampling(), Dialect())


def test_keys_open_what_they_should(model: Path, processor: PromptProcessor):
    traits = Traits(api_key="usr", admin_key="adm")
    with serving(model, processor, traits) as servers:
        with sampling(servers, processor, api_key="usr", admin_key="adm") as engine:
            engine.load(model, 1)
            assert answers(engine, group("one"))["one", 0].versions[0] == 1
        for keys in ({}, {"api_key": "adm"}, {"api_key": "usr", "admin_key": "usr"}):
            with pytest.raises(OvrlError, match="401"), sampling(servers, processor, limits=BRIEF, **keys):
                pass
    only = Traits(api_key="usr")  # one key for all
    with serving(model, processor, only) as servers, sampling(servers, processor, api_key="usr") as engine:
        engine.load(model, 1)


@pytest.mark.parametrize(
    ("traits", "reason"),
    [
        (Traits(version="0.5.9"), r"runs sglang 0\.5\.9; install 0\.5\.16 or later"),
        (Traits(model_type="llama"), r"a model of type 'llama', and not 'qwen2_5_vl'"),
        (Traits(tokenizes_again=True), "tokenizes what was sampled again"),
        (Traits(mute=True), "does not answer a prompt"),
    ],
)
def test_a_server_that_cannot_be_trusted_is_refused_with_the_reason(
    traits: Traits, reason: str, model: Path, processor: PromptProcessor
):
    limits = MUTE if traits.mute else BRIEF
    with serving(model, processor, traits) as servers:
        with pytest.raises(UsageError, match=reason), sampling(servers, processor, limits=limits):
            pass
        with (  # one such among others stops the start, too
            serving(model, processor, Traits()) as good,
            pytest.raises(UsageError, match=reason),
            sampling([*good, *servers], processor, limits=limits),
        ):
            pass


def test_what_the_probe_finds(model: Path, processor: PromptProcessor):
    kinds = [
        (Traits(), Dialect(), "retract"),
        (Traits(caches_images=True), Dialect(vision_cache=True), "abort"),
        (Traits(original_logprobs=True), Dialect(original_logprobs=True), "retract"),
        (Traits(version="0.5.17"), Dialect(), "abort"),
        (Traits(interval=False), Dialect(streams=False), "retract"),
    ]
    with serving(model, processor, *(traits for traits, _, _ in kinds)) as servers:
        for server, (_, dialect, mode) in zip(servers, kinds, strict=True):
            with sampling([server], processor) as engine:
                (known,) = engine.servers
                assert (known.dialect, known.pause_mode) == (dialect, mode)
                assert len(answers(engine, group("one"), group("two"))) == 8


def test_nobody_there_is_told_with_the_addresses(processor: PromptProcessor):
    with pytest.raises(OvrlError, match=r"no SGLang server has answered.*127\.0\.0\.1:9/ready"):
        SGLangEngine(["http://127.0.0.1:9"], processor, limits=BRIEF)


def test_the_last_server_dies_and_the_engine_says_so_instead_of_waiting(
    model: Path, processor: PromptProcessor, tmp_path: Path
):
    with paced_engine(model, processor, limits=BRIEF, weights_dir=tmp_path) as engine:
        made = engine.generate([group("one"), group("text", 40)])
        next(made)
        engine.server.kill()
        with pytest.raises(OvrlError, match="no SGLang server has answered"):
            list(made)


def test_weights_of_another_model_are_refused_and_nothing_changes(
    model: Path, processor: PromptProcessor, tmp_path: Path
):
    own = Policy.load(str(model)).model.state_dict()
    cases: dict[str, dict[str, torch.Tensor]] = {
        "is missing": {name: tensor for name, tensor in own.items() if "norm" not in name},
        "extra is unknown": {**own, "extra": torch.zeros(1)},
        "has the shape": {name: tensor[:1] for name, tensor in own.items()},
    }
    with (
        serving(model, processor, Traits()) as (server,),
        sampling([server], processor, weights_dir=tmp_path) as engine,
    ):
        for reason, weights in cases.items():
            with pytest.raises(UsageError, match=reason):
                engine.load(weights.items(), 1)
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="no weights that can be read"):
            engine.load(tmp_path / "empty", 1)
        assert (engine.version, server.counts["/update_weights_from_disk"]) == (0, 0)
        assert set(answers(engine, group("one"))["one", 0].versions) == {0}


def test_weights_that_servers_cannot_read_are_refused_and_they_go_on(
    model: Path, processor: PromptProcessor, tmp_path: Path
):
    with serving(model, processor, Traits(reads_disk=False)) as servers, sampling(servers, processor) as engine:
        with pytest.raises(UsageError, match="the servers refuse the weights"):
            engine.load(model, 1)
        assert engine.version == 0
        assert len(answers(engine, group("one"))) == 4


def test_a_server_with_other_weights_under_the_same_name_is_found_by_its_checksum(
    model: Path, processor: PromptProcessor
):
    traits = [Traits(), Traits(), Traits(spoils_weights=True)]
    with serving(model, processor, *traits) as servers, sampling(servers, processor, limits=BRIEF) as engine:
        engine.load(model, 1)
        assert engine.counts["checksums_differ"] == 1
        request = group("text", 30)
        found = answers(engine, request)
    recount = Recount(processor, {1: model})
    for k in range(30):
        recount.check(found["text", k], request)


def test_a_paused_server_is_asked_whether_it_is_ready_and_not_whether_it_is_healthy(
    model: Path, processor: PromptProcessor
):
    with serving(model, processor, Traits()) as (server,), sampling([server], processor) as engine:
        engine.pause()
        engine.load(model, 1)
        engine.resume()
        assert len(answers(engine, group("one"))) == 4
        assert (server.counts["/health"], engine.counts["servers_lost"]) == (0, 0)


def test_a_source_that_has_nothing_at_the_moment_is_asked_again(model: Path, processor: PromptProcessor):
    finished: list[Any] = []

    def source() -> Iterator[Request | None]:
        yield group("one")
        while len(finished) < 2:
            yield None
        yield group("text")

    with serving(model, processor, Traits()) as servers, sampling(servers, processor) as engine:
        for made in engine.generate(source()):
            finished.append(made)
    assert Counter(one.request_id for one in finished) == {"one": 4, "text": 4}


def test_a_group_stays_with_the_server_that_has_read_it(model: Path, processor: PromptProcessor):
    """48 completions on two servers: each prompt is read by one of them alone."""
    requests = [ask("one", {4 * i + k: 4 * i + k for k in range(4)}, max_new_tokens=6) for i in range(12)]
    requests = [Request(id=str(i), prompt=r.prompt, seeds=r.seeds, sampling=r.sampling) for i, r in enumerate(requests)]
    with serving(model, processor, Traits(most=8), Traits(most=8)) as servers, sampling(servers, processor) as engine:
        assert len(answers(engine, *requests)) == 48
        homes = [{seed // 4 for seed in server.seeds} for server in servers]
    assert all(len(home) >= 3 for home in homes)
    assert not homes[0] & homes[1]


def test_servers_are_given_no_more_than_they_run_and_a_little(model: Path, processor: PromptProcessor):
    with serving(model, processor, Traits(most=4)) as (server,), sampling([server], processor) as engine:
        answers(engine, *(ask("text", {5 * i + k: i for k in range(5)}) for i in range(20)))
        assert server.most_waiting <= 1 + 5  # a margin of one, and what is left of a group


def test_every_call_has_a_time_limit(model: Path, processor: PromptProcessor):
    with serving(model, processor, Traits(mute=True)) as (server,):
        control = Control(Client(server.url), MUTE)

        async def ask_it() -> None:
            try:
                await control.generate({"rid": "ovrl-probe-1", "input_ids": [1], "sampling_params": {}})
            finally:
                await control.client.close()

        with pytest.raises(OvrlError, match=r"no answer within 1\.5 s"):
            asyncio.run(ask_it())


def test_generations_say_how_they_ended(model: Path, processor: PromptProcessor):
    with serving(model, processor, Traits()) as servers, sampling(servers, processor) as engine:
        (one,) = engine.generate([ask("text", {0: 1}, max_new_tokens=1)])
        assert isinstance(one, Generation)
        assert one.finish_reason == ("stop" if one.token_ids[-1] in processor.eos_ids else "length")
