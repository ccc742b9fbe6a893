import base64
import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pytest

from builders import picture, sample
from ovrl import codec
from ovrl.errors import RecordError
from ovrl.records import Completion, ImageRef
from ovrl.reward.lines import parse

GOOD: dict[str, Any] = {"id": "a", "problem": "What?", "answer": ["3"]}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ([], "", "a JSON object is expected, not list"),
        ("text", "", "a JSON object is expected, not str"),
        (without("problem"), "problem", "this field is missing"),
        (without("answer"), "answer", "this field is missing"),
        (GOOD | {"answer": []}, "answer", "the list is empty"),
        (GOOD | {"answer": [3]}, "answer", "(got [3])"),
        (GOOD | {"problem": 7}, "problem", "(got 7)"),
        (GOOD | {"id": 7.5}, "id", "(got 7.5)"),
        (GOOD | {"id": True}, "id", "(got true)"),
        (GOOD | {"prompt_type": "fast"}, "prompt_type", "unknown value 'fast'; known: normal, thinking, default"),
        (GOOD | {"meta": "{"}, "meta", "not JSON"),
        (GOOD | {"meta": "[1]"}, "meta", "a JSON object is expected"),
        (GOOD | {"images": "x.png"}, "images", "(got "),
        (GOOD | {"images": [None]}, "images", "(got [null])"),
        (GOOD | {"images": [{}]}, "images", "neither `path` nor `bytes`"),
        (GOOD | {"images": [{"bytes": "%%%"}]}, "images", "not base64"),
        (GOOD | {"images": ["data:image/png;base64,%%%"]}, "images", "not base64"),
        (GOOD | {"images": ["https://x.org/a.png"]}, "images", "is a URL"),
    ],
)
def test_a_wrong_record_is_an_error_that_names_the_field(record: Any, field: str, reason: str):
    with pytest.raises(RecordError) as caught:
        codec.decode_sample(record, Path())
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert str(caught.value.at("d.jsonl:7")).startswith(f"d.jsonl:7: {field}")


@pytest.mark.parametrize(
    ("given", "answer", "prompt_type", "answer_type"),
    [
        ({}, ("3",), "thinking", "any"),
        ({"answer": "4"}, ("4",), "thinking", "any"),  # a plain string is accepted
        ({"prompt_type": "default"}, ("3",), "thinking", "any"),  # the released value
        ({"prompt_type": "normal", "answer_type": "bbox"}, ("3",), "normal", "bbox"),
        ({"answer_type": "riddle"}, ("3",), "thinking", "riddle"),  # unknown types are counted when they are scored
        ({"prompt_type": None, "answer_type": None, "images": None, "meta": None}, ("3",), "thinking", "any"),
    ],
)
def test_what_is_absent_has_a_default(given: dict[str, Any], answer: tuple[str], prompt_type: str, answer_type: str):
    question = codec.decode_sample(GOOD | given, Path()).question
    assert (question.answer, question.prompt_type, question.answer_type) == (answer, prompt_type, answer_type)


def test_images_are_paths_bytes_or_data_uris(tmp_path: Path):
    raw = picture()
    text = base64.b64encode(raw).decode()
    images = ["a.png", {"path": "b.png"}, {"bytes": text, "path": "c.png"}, f"data:image/png;base64,{text}"]
    refs = codec.decode_sample(GOOD | {"images": images}, tmp_path).images
    assert [image.path for image in refs] == [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "c.png", None]
    assert [image.data for image in refs] == [None, None, raw, raw]


def test_a_sample_comes_back_from_json_as_it_went():
    before = sample(format_guidance="Give a number.", meta={"difficulty": 2}, extra={"level": 3, "tags": ["x"]})
    record = json.loads(json.dumps(codec.encode_sample(before)))
    assert codec.decode_sample(record, Path()) == before


def test_the_id_is_made_from_the_content_when_absent(tmp_path: Path):
    one = codec.decode_sample(without("id"), Path()).id
    assert one == codec.decode_sample(without("id") | {"level": 3, "schema": "ovrl.sample/1"}, Path()).id
    (tmp_path / "a.png").write_bytes(picture())
    others = [{"problem": "Who?"}, {"answer": "4"}, {"source": "x"}, {"images": ["a.png"]}, {"images": ["b.png"]}]
    made = {codec.decode_sample(without("id") | other, tmp_path).id for other in others}
    assert len(made | {one}) == 6


@pytest.mark.parametrize("with_tokens", [False, True])
def test_a_completion_line_can_be_scored_alone(with_tokens: bool):
    question = sample(meta={"scale": 1}).question
    completion = Completion(
        sample_id="s1",
        k=2,
        text="<answer>3</answer>",
        finish_reason="stop",
        prompt_tokens=9,
        completion_tokens=2,
        model="m",
        policy_version=0,
        seed=5,
        sampling={"temperature": 1.0},
        question=question,
        token_ids=(4, 0),
        logprobs=(-0.5, -1.0),
    )
    raw = json.dumps(codec.encode_completion(completion, with_tokens=with_tokens)).encode()
    (line,) = parse(raw, 1)
    assert line.question == question
    record = json.loads(raw)
    assert (record["id"], record["sample_id"], record["k"]) == ("s1#2", "s1", 2)
    assert record.get("token_ids") == ([4, 0] if with_tokens else None)


def test_paths_are_written_so_that_the_line_may_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    moved = codec.encode_sample(sample(images=(ImageRef(path="set/a.png"),)))
    assert moved["images"] == [str(tmp_path / "set" / "a.png")]


def test_what_json_has_not_is_written_as_text_or_null():
    odd = {
        "b": b"x",
        "t": datetime.date(2024, 5, 1),
        "d": decimal.Decimal("1.50"),
        "n": float("nan"),
        "l": (1, {2: 0.5}),
    }
    plain = {"b": "eA==", "t": "2024-05-01", "d": "1.50", "n": None, "l": [1, {"2": 0.5}]}
    made = codec.encode_sample(sample(meta=odd, extra={"odd": odd}))
    assert made["meta"] == made["odd"] == plain


@pytest.mark.parametrize(("older", "name"), [("math-expression", "math-expressions"), ("bool", "boolean")])
def test_older_names_of_answer_types_are_understood(older: str, name: str):
    record = {"problem": "?", "answer": "1", "answer_type": older}
    assert codec.decode_sample(record, Path()).question.answer_type == name
