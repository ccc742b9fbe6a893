"""What a real server does that a client must know. Each was met on the way; a new SGLang may mend or change them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ovrl.rollout.sglang.launch import Servers
from served import LIMIT_S, Raw, Weights, agree, png, unexpanded

PROMPT = "one"


@pytest.fixture
def server(serve: Any, old: Weights) -> Raw:
    """A server with the old weights."""
    raw = Raw(serve(old.served, 2).urls[0])
    raw.reset(old, "old")
    return raw


class Call(threading.Thread):
    """A call that goes on beside others."""

    def __init__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._call = lambda: call(*args, **kwargs)
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        self.answer = self._call()

    def finish(self) -> Any:
        self.join(LIMIT_S)
        assert not self.is_alive(), "no answer"
        return self.answer


def until_running(server: Raw) -> None:
    limit = time.monotonic() + LIMIT_S
    while not server.busy():
        assert time.monotonic() < limit
        time.sleep(0.02)
    time.sleep(0.3)


def spans(answer: Any) -> list[tuple[str, int, int]]:
    return [(span["version"], span["start"], span["end"]) for span in answer["meta_info"]["weight_versions"]]


def test_logprobs_are_those_of_transformers_and_are_not_so_by_chance(server: Raw, old: Weights, new: Weights):
    for name in ("text", "one", "one", "two", "long"):
        answer = server.sample(old, name)
        assert agree(answer, old, name, within=1e-5)
        assert answer["meta_info"]["prompt_tokens"] == len(old.ids(name))
        assert not agree(answer, new, name, within=1e-1)
    assert answer["meta_info"]["cached_tokens"] > 0


def test_retract_reads_everything_again_with_the_new_weights(server: Raw, old: Weights, new: Weights):
    call = Call(server.sample, old, PROMPT, 400)
    until_running(server)
    server.post("/pause_generation", mode="retract")
    server.post("/update_weights_from_disk", model_path=str(new.served), weight_version="new")
    server.post("/continue_generation")
    answer = call.finish()
    (first, _, switch), (second, start, end) = spans(answer)
    assert (first, second, start, end) == ("old", "new", switch, 400)
    assert 0 < switch < 400
    assert agree(answer, old, PROMPT, slice(0, switch))
    assert agree(answer, new, PROMPT, slice(switch, 400))
    assert answer["meta_info"]["num_retractions"] == 1


def test_in_place_goes_on_from_what_no_version_has_read_and_refuses_to_flush(server: Raw, old: Weights, new: Weights):
    call = Call(server.sample, old, PROMPT, 400)
    until_running(server)
    server.post("/pause_generation", mode="in_place")
    status, answer = server.ask(
        "/update_weights_from_disk", {"model_path": str(new.served), "weight_version": "new", "flush_cache": True}
    )
    assert (status, answer["success"]) == (400, False)  # and yet the weights are the new ones
    server.post("/continue_generation")
    answer = call.finish()
    later = next((start for version, start, _ in spans(answer) if version == "new"), None)
    given = [entry[0] for entry in answer["meta_info"]["output_token_logprobs"]]
    likely = [w.logprobs(PROMPT, answer["output_ids"], banned=old.policy.banned_ids()) for w in (old, new)]
    switch = next(i for i, (a, b) in enumerate(zip(given, likely[0], strict=True)) if abs(a - b) > 1e-3)
    assert later is None or later == pytest.approx(switch, abs=1)
    assert abs(given[switch] - likely[1][switch]) > 1e-3
    server.post("/flush_cache")
    assert agree(server.sample(new, PROMPT), new, PROMPT)


def test_abort_answers_with_200_and_what_there_is_and_new_requests_wait(server: Raw, old: Weights):
    call = Call(server.sample, old, PROMPT, 400)
    until_running(server)
    server.post("/pause_generation", mode="abort")
    answer = call.finish()
    assert answer["meta_info"]["finish_reason"]["type"] == "abort"
    assert 0 < len(answer["output_ids"]) == len(answer["meta_info"]["output_token_logprobs"]) < 400
    waiting = Call(server.sample, old, "text")
    waiting.join(1.0)
    assert waiting.is_alive()
    server.post("/continue_generation")
    assert len(waiting.finish()["output_ids"]) == 12


def test_one_request_is_aborted_by_its_whole_name(server: Raw, old: Weights):
    call = Call(server.sample, old, PROMPT, 800, rid="a-name-1")
    until_running(server)
    assert server.ask("/abort_request", {"rid": "a-name"})[0] == 200  # a part of it does nothing
    time.sleep(0.3)
    assert server.busy() == 1
    server.ask("/abort_request", {"rid": "a-name-1"})
    assert call.finish()["meta_info"]["finish_reason"]["type"] == "abort"


def test_a_paused_server_is_alive_and_neither_ready_nor_healthy(server: Raw):
    asked = ("/ping", "/ready", "/health")
    assert [server.ask(path)[0] for path in asked] == [200, 200, 200]
    server.post("/pause_generation", mode="retract")
    try:
        assert [server.ask(path)[0] for path in asked] == [200, 503, 503]
    finally:
        server.post("/continue_generation")
    # Who asks /health during a pause leaves a mark, and only /health wipes it off.
    assert [server.ask(path)[0] for path in asked] == [503, 503, 200]
    assert [server.ask(path)[0] for path in asked] == [200, 200, 200]


def test_a_tensor_of_unknown_name_is_passed_over_in_silence(server: Raw, old: Weights, tmp_path: Path):
    tensors = load_file(old.served / "model.safetensors")
    first = next(iter(tensors))
    save_file({"nobody.knows.this": torch.ones(2), first: tensors[first]}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((old.served / "config.json").read_text())
    before = server.post("/weights_checker", action="checksum")
    answer = server.post("/update_weights_from_disk", model_path=str(tmp_path), weight_version="odd")
    assert answer["success"] is True
    assert server.post("/weights_checker", action="checksum")["ranks"] == before["ranks"]  # this would tell
    assert server.ask("/model_info")[1]["weight_version"] == "odd"


def test_an_update_in_parts_has_to_be_opened_first(server: Raw):
    part = {"names": ["x"], "dtypes": ["float32"], "shapes": [[1]], "group_name": "none", "flush_cache": False}
    status, answer = server.ask("/update_weights_from_distributed", part)
    assert status == 400
    assert "begin_weight_update" in str(answer)
    assert server.ask("/begin_weight_update", {"selector": "all"})[0] == 200
    assert server.ask("/end_weight_update", {})[0] == 200


def test_an_image_too_many_is_dropped_in_silence(server: Raw, old: Weights):
    answer = server.sample(old, PROMPT, images=png("two"))
    assert answer["meta_info"]["prompt_tokens"] < len(old.ids("two"))


def test_a_kept_image_outlives_the_weights_unless_its_name_changes(keeper: Servers, old: Weights, new: Weights):
    server = Raw(keeper.urls[0])
    server.reset(old)
    assert agree(server.sample(old, PROMPT), old, PROMPT)
    server.post("/update_weights_from_disk", model_path=str(new.served), flush_cache=True)
    server.post("/flush_cache")
    assert not agree(server.sample(new, PROMPT), new, PROMPT)
    server.post("/flush_cache")
    assert agree(server.sample(new, PROMPT, mm_hashes=["0123456789abcdef" * 4]), new, PROMPT)


def test_a_prompt_with_expanded_image_tokens_is_never_answered(keeper: Servers, old: Weights):
    server = Raw(keeper.urls[0])
    body = {"input_ids": old.ids(PROMPT), "image_data": png(PROMPT), "sampling_params": {"max_new_tokens": 2}}
    with pytest.raises(TimeoutError):
        server.ask("/generate", body, limit_s=5.0)
    assert server.ask("/ready")[0] == 200


def test_a_token_outside_of_the_vocabulary_ends_the_server(keeper: Servers, old: Weights):
    (first,) = keeper.pids
    server = Raw(keeper.urls[0])
    with pytest.raises((OSError, AssertionError)):
        server.post("/generate", input_ids=[*unexpanded(old, "text"), 10**6], sampling_params={"max_new_tokens": 2})
    limit = time.monotonic() + LIMIT_S
    while keeper.pids == [first]:
        assert time.monotonic() < limit, "it lives"
        time.sleep(0.1)
