"""One line in, one line out: what is read, what is passed on, what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.errors import RecordError
from ovrl.records import Question
from ovrl.reward.lines import ANSWER_NAMES, COMPLETION_NAMES, SCORE_NAMES, encode, parse

PLAIN = {"completion": "<answer>3</answer>", "answer": ["3"], "answer_type": "number"}
SCORE = {"reward": 1.0, "components": {"accuracy": 1.0}, "status": "ok"}


def raw(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize("completion", COMPLETION_NAMES)
@pytest.mark.parametrize("answer", ANSWER_NAMES)
def test_the_usual_names_are_understood(completion: str, answer: str):
    (line,) = parse(raw(**{completion: "x", answer: "y"}), 1)
    assert (line.completion, line.question) == ("x", Question(answer=("y",)))


def test_all_fields_of_the_question_are_read():
    fields = {"problem": "Who?", "answer_type": "bbox", "problem_type": "ocr", "prompt_type": "default", "source": "s"}
    (line,) = parse(raw(**fields, completion="x", answer=["a", "b"], meta='{"bbox": {"scale": "norm1"}}'), 1)
    assert line.question == Question(
        problem="Who?", answer=("a", "b"), answer_type="bbox", problem_type="ocr", prompt_type="thinking", source="s",
        meta={"bbox": {"scale": "norm1"}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "answer"),
    [("3", "3"), ("3.0", "3.0"), ("1e3", "1e3"), ("-0.10", "-0.10"), ("123456789012345678901234567890",) * 2],
)
def test_a_number_as_the_gold_keeps_its_digits(text: str, answer: str):
    (line,) = parse(f'{{"completion": "x", "answer": {text}}}'.encode(), 1)
    assert line.question.answer == (answer,)


def test_a_null_gold_is_no_gold_and_an_absent_one_is_an_error():
    (line,) = parse(raw(completion="x", answer=None), 1)
    assert line.question.answer == ()
    with pytest.raises(RecordError, match="ground_truth"):
        parse(raw(completion="x"), 1)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"answer": "y"}, "completion"), ({"completion": 3, "answer": "y"}, "completion"),
        ({"completion": "x", "answer": ["y", 3]}, "answer"), ({"completion": "x", "answer": {"a": 1}}, "answer"),
        ({"completion": "x", "answer": True}, "answer"), ({"completion": "x", "answer": "y", "problem": 3}, "problem"),
        ({"completion": "x", "answer": "y", "answer_type": 3}, "answer_type"),
        ({"completion": "x", "answer": "y", "problem_type": []}, "problem_type"),
        ({"completion": "x", "answer": "y", "prompt_type": "loud"}, "prompt_type"),
        ({"completion": "x", "answer": "y", "meta": "{"}, "meta"),
        ({"completion": "x", "answer": "y", "meta": [1]}, "meta"),
        ({"completions": "x", "answer": "y"}, "completions"),
        ({"completions": ["x", 3], "answer": "y"}, "completions.1"),
        ({"completions": [], "answer": "y"}, "completions"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str):
    with pytest.raises(RecordError) as caught:
        parse(raw(**fields), 1)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"completion": "x", "ans', "the line is torn"), (b'{"a": }\n', "the line is not JSON"),
        (b"[1]\n", "a JSON object is expected, not list"), (b'{"a": NaN}\n', "NaN is no JSON number"),
        (b'{"a": 1e999}\n', "no JSON number"), (b"[" * 100_000 + b"\n", "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_record_says_why(text: bytes, reason: str):
    with pytest.raises(RecordError, match=reason):
        parse(text, 1)


def test_several_completions_become_lines_of_their_own():
    lines = parse(raw(completions=["a", "b"], answer="a", sample_id="s7", level=2), 5)
    assert [(line.completion, line.record["id"], line.record["k"]) for line in lines] == [
        ("a", "s7#0", 0),
        ("b", "s7#1", 1),
    ]
    assert [json.loads(encode(line, SCORE))["level"] for line in lines] == [2, 2]
    assert parse(raw(completions=["a"], answer="a"), 5)[0].record["id"] == "5#0"  # the line's number


def test_unknown_fields_keep_their_bytes():
    text = (
        b'{"completion": "x",  "answer":"y", "big": 123456789012345678901234567890, "f": 1.10, "n": {"a": [ ]} }  \r\n'
    )
    out = encode(parse(text, 1)[0], SCORE)
    assert out.startswith(text.rstrip()[:-1])
    assert json.loads(out) == json.loads(text) | SCORE
    assert out.endswith(b"}\n")


def test_an_earlier_score_is_replaced():
    score = {"reward": 0.0, "status": "error", "scorer": "number", "mode": "ov15", "note": "it fell", "explain": {}}
    assert json.loads(encode(parse(raw(**PLAIN, **score, mine=1), 1)[0], SCORE)) == PLAIN | {"mine": 1} | SCORE


def test_fields_of_the_user_that_are_called_like_the_scores_are_kept_under_another_name():
    mine = {"reward": 0.25, "note": "by hand", "mode": "chat", "input_note": "older"}
    out = json.loads(encode(parse(raw(**PLAIN, **mine), 1)[0], SCORE))
    kept = {"input_reward": 0.25, "input_input_note": "by hand", "input_mode": "chat", "input_note": "older"}
    assert out == PLAIN | kept | SCORE


@pytest.mark.parametrize(
    "text", [b'{"completion": "\\ud800", "answer": "y"}\n', b'{"completion": "\xff", "answer": "y"}\n']
)
def test_half_a_surrogate_and_bytes_that_are_no_text_are_scored(text: bytes):
    (line,) = parse(text, 1)
    assert json.loads(encode(line, SCORE)).items() >= SCORE.items()
    assert line.completion in ("\ud800", "\ufffd")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda name: name not in SCORE_NAMES), JSON, max_size=5))
def test_whatever_else_is_in_a_record_comes_out_again(extra: dict[str, Any]):
    record = extra | PLAIN
    for name in ("meta", "problem", "problem_type", "prompt_type", "completions"):
        record.pop(name, None)
    assert json.loads(encode(parse(raw(**record), 1)[0], SCORE)) == record | SCORE
