"""Real servers behind the `smg` gateway: it forwards requests untouched, and hands control calls to all of them."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import SAMPLES
from ovrl.errors import UsageError
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.control import Limits
from ovrl.rollout.sglang.engine import SGLangEngine
from ovrl.rollout.sglang.launch import Servers, interpreter
from served import LIMIT_S, Raw, Weights


@pytest.fixture
def gateway(servers: Servers, tmp_path: Path) -> Iterator[Raw]:
    with socket.socket() as one, socket.socket() as two:
        ports = []
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
            ports.append(str(free.getsockname()[1]))
    smg = interpreter(os.environ["OVRL_SGLANG"]).with_name("smg")
    flags = ["--policy", "cache_aware", "--enable-rl", "--disable-tokenizer-autoload", "--host", "127.0.0.1"]
    command = [smg, "launch", "--worker-urls", *servers.urls, *flags, "--port", ports[0], "--prometheus-port", ports[1]]
    with (tmp_path / "smg.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    raw = Raw(f"http://127.0.0.1:{ports[0]}")
    try:
        limit = time.monotonic() + LIMIT_S
        while not _has(raw, len(servers.urls)):
            assert time.monotonic() < limit, (tmp_path / "smg.log").read_text()[-2000:]
            time.sleep(0.1)
        yield raw
    finally:
        process.kill()
        process.wait()


def _has(gateway: Raw, workers: int) -> bool:
    try:
        status, answer = gateway.ask("/readiness", limit_s=5.0)
    except OSError:
        return False
    return status == 200 and answer["healthy_workers"] == workers


def to_all(gateway: Raw, path: str, **fields: Any) -> None:
    """Make a control call to every server."""
    answer = gateway.post(f"/v1/rl/engine/{path}?selector=engine%3Dsglang", **fields)
    assert len(answer["results"]) == 2
    assert {result["status"] for result in answer["results"].values()} == {200}


def test_groups_with_images_and_an_update_go_through_it(gateway: Raw, old: Weights, new: Weights):
    for version, weights in enumerate((old, new)):
        if version:
            to_all(gateway, "pause_generation", mode="retract")
            to_all(gateway, "update_weights_from_disk", model_path=str(new.served), weight_version="1")
            to_all(gateway, "continue_generation", torch_empty_cache=False)
        for name in SAMPLES:
            answer = gateway.sample(weights, name, 1)  # since it may be an image token: see below
            given = [entry[0] for entry in answer["meta_info"]["output_token_logprobs"]]
            assert given == pytest.approx(weights.logprobs(name, answer["output_ids"]), abs=1e-3)
            assert answer["meta_info"]["prompt_tokens"] == len(weights.ids(name))
            assert answer["meta_info"]["weight_version"] == ("1" if version else "default")


def test_it_drops_what_bans_words_and_so_our_engine_does_without_it(
    gateway: Raw, servers: Servers, old: Weights, tmp_path: Path
):
    greedy = {"temperature": 0.0}
    (likeliest,) = Raw(servers.urls[0]).sample(old, "one", 1, sampling_params=greedy)["output_ids"]
    banned = greedy | {"logit_bias": {str(likeliest): -1e9}}
    assert Raw(servers.urls[0]).sample(old, "one", 1, sampling_params=banned)["output_ids"] != [likeliest]
    assert gateway.sample(old, "one", 1, sampling_params=banned)["output_ids"] == [likeliest]
    processor = PromptProcessor.load(old.policy.name)
    with pytest.raises(UsageError, match="does not obey logit_bias"):
        SGLangEngine([gateway.url], processor, weights_dir=tmp_path, limits=Limits(control_s=LIMIT_S))
