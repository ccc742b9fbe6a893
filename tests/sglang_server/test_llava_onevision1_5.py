"""LLaVA-OneVision-1.5 on a real server, which loads it from us."""

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore

from engines import SAMPLES, answers, group
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.engine import SGLangEngine
from served import Raw, Weights, agree, png


@pytest.fixture
def old(made: Callable[..., Weights]) -> Weights:
    return made("llavaonevision1_5", 3)


@pytest.fixture
def new(made: Callable[..., Weights]) -> Weights:
    return made("llavaonevision1_5", 4)


@pytest.fixture
def server(serve: Any, old: Weights) -> Raw:
    raw = Raw(serve(old.served, 1).urls[0])
    raw.reset(old)
    return raw


def test_logprobs_are_those_of_transformers_with_and_without_what_was_read_before(
    server: Raw, old: Weights, new: Weights
):
    for name in (*SAMPLES, *SAMPLES):
        answer = server.sample(old, name)
        assert agree(answer, old, name)
        assert not agree(answer, new, name)
        assert answer["meta_info"]["prompt_tokens"] == len(old.ids(name))
    assert answer["meta_info"]["cached_tokens"] == len(old.ids(name)) - 1


def test_the_prefix_cache_tells_images_apart(server: Raw, old: Weights):
    server.post("/flush_cache")
    first = server.sample(old, "two")
    turned = server.sample(old, "two", images=png("two")[::-1])
    again = server.sample(old, "two")
    assert agree(first, old, "two")
    assert agree(again, old, "two")
    assert not agree(turned, old, "two")
    assert turned["meta_info"]["cached_tokens"] < first["meta_info"]["prompt_tokens"] / 2
    assert again["meta_info"]["cached_tokens"] == first["meta_info"]["prompt_tokens"] - 1


@pytest.mark.parametrize("tokens", ["expanded", "without"])
def test_images_that_do_not_match_are_refused(server: Raw, old: Weights, tokens: str):
    ids = old.ids("one")
    if tokens == "without":
        ids = [index for index in ids if index != old.policy.model.config.image_token_id]
    status, answer = server.ask("/generate", {"input_ids": ids, "image_data": png("one")})
    assert status == 400
    assert "send one token for each" in str(answer)
    assert agree(server.sample(old, "one"), old, "one")


def test_our_engine_samples_groups_and_updates_from_disk(server: Raw, old: Weights, new: Weights, tmp_path: Path):
    processor = PromptProcessor.load(old.policy.name)
    with closing(SGLangEngine([server.url], processor, weights_dir=tmp_path)) as engine:
        for version, weights in enumerate((old, new)):
            if version:
                engine.load(new.served, version)
            for one in answers(engine, *(group(name) for name in SAMPLES)).values():
                assert set(one.versions) == {version}
                wanted = weights.logprobs(one.request_id, one.token_ids, banned=weights.policy.banned_ids())
                assert one.logprobs == pytest.approx(wanted, abs=1e-3)


def test_weights_come_from_a_process_group(server: Raw, new: Weights):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"master_address": "127.0.0.1", "master_port": port, "rank_offset": 1, "world_size": 2}
    joined = threading.Thread(
        target=lambda: server.post("/init_weights_update_group", **place, group_name="trainer", backend="gloo")
    )
    joined.start()
    store = TCPStore("127.0.0.1", port, 2, is_master=True)
    for prefix in ("trainer", "trainer/", "cpu/"):  # as torch.distributed does for a group of that name
        store = PrefixStore(prefix, store)
    trainer = ProcessGroupGloo(store, 0, 2, timedelta(seconds=60))
    joined.join()
    tensors = load_file(new.served / "model.safetensors")
    server.post("/begin_weight_update", selector="all")
    part = {
        "names": list(tensors),
        "dtypes": [str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()],
        "shapes": [list(tensor.shape) for tensor in tensors.values()],
        "group_name": "trainer",
        "flush_cache": True,
        "weight_version": "1",
    }
    answer: list[Any] = []
    update = threading.Thread(target=lambda: answer.append(server.post("/update_weights_from_distributed", **part)))
    update.start()
    for tensor in tensors.values():
        trainer.broadcast(tensor, 0).wait()
    update.join()
    assert answer[0]["success"] is True
    server.post("/end_weight_update")
    server.post("/destroy_weights_update_group", group_name="trainer")
    for name in ("one", "two"):
        assert agree(server.sample(new, name), new, name)
