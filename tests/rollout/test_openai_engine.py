"""The engine for models behind an API, against a server on a real socket; and what of the engines' contract applies."""

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from builders import identity
from chat_server import Chat, Fault, serving
from engines import PROMPTS, SAMPLES, answers, ask, collect, group
from ovrl.errors import OvrlError, UsageError
from ovrl.json_lines import JsonLines
from ovrl.rejects import Rejects
from ovrl.rollout import chat_client, prompt
from ovrl.rollout.engine import Generation, Refusal, Request, Sampling
from ovrl.rollout.openai_engine import OpenAIEngine, load_engine
from ovrl.rollout.run import roll_out
from ovrl.rollout.settings import EngineSettings, RolloutSettings


@pytest.fixture
def chat() -> Iterator[Chat]:
    with serving(Chat()) as chat:
        yield chat


@pytest.fixture
def engine(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIEngine]:
    monkeypatch.setattr(chat_client, "_FIRST_WAIT", 0.01)
    engine = OpenAIEngine("some/model", [chat.url], api_key="secret", concurrency=4, patience=2.0)
    yield engine
    engine.close()


def texts(found: Any) -> dict[tuple[str, int], str]:
    return {key: one.text for key, one in found.items()}


def test_each_seed_of_each_request_is_answered_once(chat: Chat, engine: OpenAIEngine):
    requests = [group("one"), ask("text", {3: 7}), group("two", 20), ask("long", {0: 5, 9: 6}), ask("text", {})]
    found = answers(engine, *requests)
    assert set(found) == {(request.id, k) for request in requests for k in request.seeds}
    assert chat.most <= 4
    for request in requests:
        for k, seed in request.seeds.items():
            one, reply = found[request.id, k], f"{seed} " * (1 + seed % 4)
            assert (one.text, one.finish_reason) == (reply[:12], "stop" if len(reply) < 12 else "length")
            assert (one.prompt_tokens, one.completion_tokens) == (7, min(12, len(reply) + 1))
            assert one.token_ids == one.logprobs == one.sampling_logprobs == one.versions == ()


def test_what_is_sent_is_the_prompt_with_its_images(chat: Chat, engine: OpenAIEngine):
    answers(engine, ask("two", {0: 5}, temperature=0.5, top_p=0.9, top_k=3, stop=("x",)))
    (asked,) = chat.asked
    assert chat.keys == ["Bearer secret"]
    rest = {name: value for name, value in asked.items() if name != "messages"}
    assert rest == {
        "model": "some/model",
        "seed": 5,
        "n": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "max_tokens": 12,
        "stop": ["x"],
    }
    system, user = asked["messages"]
    assert system == {"role": "system", "content": prompt.SYSTEM}
    kinds = [part["type"] for part in user["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"]
    for part, image in zip([p for p in user["content"] if "image_url" in p], PROMPTS["two"].images, strict=True):
        head, _, data = part["image_url"]["url"].partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == image.tobytes()
    answers(engine, ask("text", {0: 1}))
    assert isinstance(chat.asked[1]["messages"][1]["content"], str)
    assert not {"top_k", "stop"} & chat.asked[1].keys()


@pytest.mark.parametrize(
    "fault", [(500, "oops", {}), (503, "", {}), (429, "slow down", {"Retry-After": "0.02"}), (0, "", {})]
)
def test_what_may_go_away_is_tried_again(chat: Chat, engine: OpenAIEngine, fault: Fault):
    whole = texts(answers(engine, *(group(name) for name in SAMPLES)))
    chat.asked.clear()
    chat.fault = lambda asked, times: fault if asked["seed"] % 3 == 0 and times <= 3 else None
    # once in the run above, so that the second and the third time fail, and the fourth is good
    assert texts(answers(engine, *(group(name) for name in SAMPLES))) == whole
    failing = sum(seed % 3 == 0 for name in SAMPLES for seed in group(name).seeds.values())
    assert len(chat.asked) == 16 + 2 * failing


def test_a_server_says_how_long_to_wait(chat: Chat, engine: OpenAIEngine):
    """Longer than our patience: it is given up at once."""
    chat.fault = lambda asked, times: (429, "quota", {"Retry-After": "100"})
    with pytest.raises(OvrlError, match=r"gave no completion in 2 s: 429: quota"):
        answers(engine, group("text"))
    assert chat_client._seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert chat_client._seconds("soon") is None


def test_a_request_at_fault_is_refused_once_and_the_others_go_on(chat: Chat, engine: OpenAIEngine):
    chat.fault = lambda asked, times: (400, "too long", {}) if "circles circles" in json.dumps(asked) else None
    few = Request(id="few", prompt=prompt.Prompt(PROMPTS["one"].messages, ()), seeds={0: 1}, sampling=Sampling())
    made = list(engine.generate([group("one"), group("long", 9), few, group("text")]))
    refused = [(one.request_id, one.reason) for one in made if isinstance(one, Refusal)]
    assert refused[0] == ("few", "the prompt has 1 places for images, and 0 images") or len(refused) == 2
    assert dict(refused)["long"] == "the server answered 400: too long"
    assert len(collect(one for one in made if isinstance(one, Generation))) == 8
    assert len(refused) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((401, "who?", {}), "does not let us in"),
        ((404, "no model", {}), "knows no such model"),
        ((200, "<html>", {}), "no JSON"),
        ((200, "{}", {}), "without a completion"),
    ],
)
def test_what_no_retry_can_mend_ends_the_run(chat: Chat, engine: OpenAIEngine, fault: Fault, message: str):
    chat.fault = lambda asked, times: fault
    with pytest.raises(OvrlError, match=message):
        answers(engine, group("text"))
    assert len(chat.asked) <= 4


def test_a_server_that_is_gone_is_an_error_and_another_is_asked_meanwhile(chat: Chat, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chat_client, "_FIRST_WAIT", 0.01)
    gone = OpenAIEngine("m", ["http://127.0.0.1:9"], concurrency=2, patience=0.1)
    with pytest.raises(OvrlError, match=r"127.0.0.1:9/v1/chat/completions gave no completion in 0.1 s"):
        answers(gone, group("text"))
    gone.close()
    both = OpenAIEngine("m", ["http://127.0.0.1:9", f"{chat.url}/v1/"], concurrency=2)
    assert len(answers(both, group("text"), group("one"))) == 8
    both.close()


def test_other_endings_are_told_as_they_are(chat: Chat, engine: OpenAIEngine):
    for theirs, ours in {"content_filter": "abort", "length": "length", "stop": "stop", "odd": "error"}.items():
        done = {"choices": [{"message": {"content": None}, "finish_reason": theirs}]}
        chat.fault = lambda asked, times, done=done: (200, json.dumps(done), {})
        (one,) = answers(engine, ask("text", {0: 1})).values()
        assert (one.text, one.finish_reason, one.completion_tokens) == ("", ours, 0)


def test_requests_are_pulled_when_there_is_room_and_a_source_may_wait(engine: OpenAIEngine):
    pulled: list[str] = []
    unfinished = 0

    def requests() -> Iterator[Request | None]:
        nonlocal unfinished
        for name in SAMPLES:
            while unfinished:
                yield None
            pulled.append(name)
            unfinished = 4
            yield group(name)

    made: list[Any] = []
    for one in engine.generate(requests()):
        unfinished -= 1
        made.append(one)
        assert len(pulled) == (len(made) + 3) // 4
    assert len(collect(made)) == 16


def test_a_paused_engine_asks_nothing(chat: Chat, engine: OpenAIEngine):
    engine.pause()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(answers(engine, group("text"))), daemon=True)
    thread.start()
    thread.join(0.2)
    assert (thread.is_alive(), chat.asked) == (True, [])
    engine.resume()
    thread.join(30)
    assert len(found[0]) == 4


def test_a_pause_waits_for_what_was_asked(chat: Chat, engine: OpenAIEngine):
    chat.hold.clear()
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(answers(engine, group("text", 9))), daemon=True)
    asking.start()
    while len(chat.asked) < 4:  # as many as may be under way
        time.sleep(0.01)
    pausing = threading.Thread(target=engine.pause, daemon=True)
    pausing.start()
    pausing.join(0.1)
    assert pausing.is_alive()
    chat.hold.set()
    pausing.join(30)
    assert not pausing.is_alive()
    engine.resume()
    asking.join(30)
    assert len(found[0]) == 9


def test_closing_ends_what_is_under_way(chat: Chat, engine: OpenAIEngine):
    chat.hold.clear()
    failed = threading.Event()

    def work() -> None:
        with pytest.raises(OvrlError, match="closed"):
            answers(engine, group("text"))
        failed.set()

    threading.Thread(target=work, daemon=True).start()
    while not chat.asked:
        time.sleep(0.01)
    engine.close()
    engine.close()
    assert failed.wait(30)
    chat.hold.set()
    with pytest.raises(OvrlError, match="closed"):
        answers(engine, group("text"))


def test_an_iterator_can_be_dropped(engine: OpenAIEngine):
    under_way = engine.generate([group("one", 8)])
    next(under_way)
    del under_way
    assert len(answers(engine, group("text"))) == 4


def test_weights_behind_an_api_are_not_ours(engine: OpenAIEngine):
    with pytest.raises(UsageError, match="cannot be changed"):
        engine.load((), 1)
    assert engine.version == 0
    with pytest.raises(UsageError, match="give --server URL"):
        load_engine("m", EngineSettings())


def test_a_line_says_by_absence_what_is_not_known(chat: Chat, tmp_path: Path):
    engine = load_engine("some/model", EngineSettings(servers=(chat.url,), batch_size=8))
    with JsonLines(str(tmp_path / "c.jsonl"), "", identity()) as lines:
        counts = roll_out(
            SAMPLES.values(),
            engine,
            lines,
            Rejects(None),
            RolloutSettings(n=2, with_tokens=True),
            model="some/model",
            seed=1,
        )
    engine.close()
    records = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert len(records) == 8
    for record in records:
        assert not {"token_ids", "logprobs"} & record.keys()
        assert record["completion_tokens"] == len(record["completion"]) + 1
        assert record["completion"].split()[0] == str(record["seed"])
    assert counts["completion_tokens"] == sum(record["completion_tokens"] for record in records)
