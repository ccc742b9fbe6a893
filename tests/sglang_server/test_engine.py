"""Our engine with real servers: one, two, behind a gateway, paused, updated, killed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engines import SAMPLES, Answers, answers, ask, group
from ovrl.rollout.engine import Generation
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.control import Limits
from ovrl.rollout.sglang.engine import SGLangEngine
from ovrl.rollout.sglang.launch import Servers
from ovrl.rollout.transformers_engine import TransformersEngine
from served import LIMIT_S, Raw, Weights

LIMITS = Limits(control_s=LIMIT_S, update_s=LIMIT_S, stall_s=LIMIT_S, watch_s=0.2, patience_s=LIMIT_S)

LONG = 300
"""Tokens: enough that something can be changed in the middle."""


@pytest.fixture
def engine(servers: Servers, old: Weights, tmp_path: Path) -> Iterator[SGLangEngine]:
    with closing(make(servers.urls, old, tmp_path)) as found:
        yield found


def make(urls: list[str], weights: Weights, folder: Path) -> SGLangEngine:
    return SGLangEngine(urls, PromptProcessor.load(weights.policy.name), weights_dir=folder, limits=LIMITS)


def check(one: Generation, *versions: Weights) -> None:
    """Assert that each token has the log-probability that its version gives it."""
    for version, weights in enumerate(versions):
        wanted = weights.logprobs(one.request_id, one.token_ids, banned=weights.policy.banned_ids())
        pairs = [(a, b) for a, b, v in zip(one.logprobs, wanted, one.versions, strict=True) if v == version]
        assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], abs=1e-3)


def busy(servers: Servers) -> list[int]:
    return [Raw(url).busy() for url in servers.urls]


def until(holds: Callable[[], object]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


class Answering(threading.Thread):
    """Completions that are made while something else goes on."""

    def __init__(self, engine: SGLangEngine, *requests: Any) -> None:
        super().__init__(daemon=True)
        self._engine, self._requests = engine, requests
        self._found: Answers = {}
        self.start()

    def run(self) -> None:
        self._found = answers(self._engine, *self._requests)

    def finish(self) -> Answers:
        self.join(LIMIT_S)
        assert not self.is_alive(), "not finished"
        return self._found


def test_groups_with_images_agree_with_the_engine_in_this_process(engine: SGLangEngine, old: Weights):
    requests = [group(name, temperature=temperature) for temperature in (0.0, 1.0) for name in SAMPLES]
    for request in requests:
        found = answers(engine, request)
        assert len(found) == 4
        for one in found.values():
            assert one.prompt_tokens == len(old.ids(request.id))
            check(one, old)
    ours = answers(TransformersEngine(old.policy, batch_size=8), *requests[: len(SAMPLES)])
    for key, one in answers(engine, *requests[: len(SAMPLES)]).items():
        assert one.token_ids == ours[key].token_ids
        assert one.logprobs == pytest.approx(ours[key].logprobs, abs=1e-3)


def test_both_servers_are_asked_and_a_group_stays_with_one(engine: SGLangEngine, servers: Servers):
    thread = Answering(engine, *(ask(name, {k: k for k in range(4)}, max_new_tokens=LONG) for name in SAMPLES))
    until(lambda: all(busy(servers)))
    assert len(thread.finish()) == 16


def test_weights_change_in_the_middle_of_completions(
    engine: SGLangEngine, servers: Servers, old: Weights, new: Weights
):
    thread = Answering(engine, *(group(name, 3, max_new_tokens=LONG) for name in SAMPLES))
    until(lambda: any(busy(servers)))
    time.sleep(0.5)
    engine.pause()
    engine.load(new.served, 1)
    engine.resume()
    found = thread.finish()
    assert {version for one in found.values() for version in one.versions} == {0, 1}
    assert any(len(set(one.versions)) == 2 for one in found.values())
    for one in found.values():
        assert list(one.versions) == sorted(one.versions)
        check(one, old, new)
    assert all(set(one.versions) == {1} for one in answers(engine, group("one")).values())


def test_tensors_are_taken_by_name_without_a_pause(engine: SGLangEngine, servers: Servers, old: Weights, new: Weights):
    thread = Answering(engine, group("two", 6, max_new_tokens=LONG))
    until(lambda: any(busy(servers)))
    engine.load(new.policy.model.state_dict().items(), 1)
    for one in thread.finish().values():
        check(one, old, new)
    for one in answers(engine, group("one")).values():
        check(one, old, new)


def test_what_is_dropped_is_aborted_on_the_servers(engine: SGLangEngine, servers: Servers):
    made = engine.generate([group("one", 8, max_new_tokens=800)])
    next(made)
    made.close()
    until(lambda: not any(busy(servers)))
    assert len(answers(engine, group("text"))) == 4


def test_a_server_that_was_left_paused_takes_part(servers: Servers, old: Weights, tmp_path: Path):
    server = Raw(servers.urls[0])
    server.post("/pause_generation", mode="retract")
    assert server.ask("/health")[0] == 503  # which leaves a mark
    with closing(make(servers.urls[:1], old, tmp_path)) as engine:
        assert len(answers(engine, group("one"))) == 4


def test_a_server_that_is_killed_loses_nothing_and_comes_back_with_the_newest_weights(
    engine: SGLangEngine, servers: Servers, old: Weights, new: Weights
):
    engine.load(new.served, 1)
    requests = [group(name, 6, max_new_tokens=120) for name in SAMPLES]
    thread = Answering(engine, *requests)
    until(lambda: all(busy(servers)))
    (pid, *_) = servers.pids
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    found = thread.finish()
    assert set(found) == {(request.id, k) for request in requests for k in request.seeds}
    for one in found.values():
        assert set(one.versions) == {1}
        check(one, old, new)
    assert engine.counts["servers_lost"] == 1
    until(lambda: engine.counts["servers_joined"] == 3)
    assert Raw(servers.urls[0]).ask("/model_info")[1]["weight_version"] == "1"


def test_kept_images_are_named_after_the_weights(keeper: Servers, old: Weights, new: Weights, tmp_path: Path):
    Raw(keeper.urls[0]).reset(old)
    with closing(make(keeper.urls, old, tmp_path)) as engine:
        for one in answers(engine, group("one")).values():
            check(one, old)
        engine.load(new.served, 1)
        for one in answers(engine, group("one")).values():
            check(one, old, new)
