"""Each layout: how it is recognised, what its published rows mean, and that nothing is lost on the way and back."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import picture, ref, sample
from ovrl import codec
from ovrl.errors import RecordError, UsageError
from ovrl.layouts import LAYOUTS, recognise
from ovrl.records import ImageRef, Sample
from ovrl.rejects import Rejects
from ovrl.samples import read_samples

IMAGE = {"bytes": picture(), "path": None}
INSTRUCTION = " You FIRST think about the reasoning process."

ROWS: dict[str, list[dict[str, Any]]] = {
    "canonical": [{"problem": "<image>?", "answer": ["3"], "answer_type": "number", "images": [IMAGE]}],
    "easyr1": [{"problem": "<image>?", "answer": "3", "images": [IMAGE]}],
    "verl": [
        {
            "data_source": "hiyouga/geometry3k",
            "prompt": [{"role": "user", "content": "<image>?" + INSTRUCTION}],
            "images": [IMAGE],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "3"},
            "extra_info": {"split": "train", "index": 7, "answer": "3", "question": "<image>?"},
        },
        {
            "data_source": "d",
            "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<image>?"}],
            "images": [IMAGE],
            "reward_model": {"style": "rule", "ground_truth": ["3"]},
        },
    ],
    "trl": [
        {
            "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}],
            "image": IMAGE,
            "solution": "<answer> 3 </answer>",
        },
        {
            "prompt": [
                {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "?"}]},
            ],
            "images": [IMAGE],
            "answer": "3",
            "solution": "since 1 + 2",
        },
    ],
    "ms-swift": [
        {"messages": [{"role": "user", "content": "<image>?"}], "images": [IMAGE], "solution": "3"},
        {
            "messages": [
                {"role": "user", "content": "<image>?"},
                {"role": "assistant", "content": "<think>1 + 2</think><answer>3</answer>"},
            ],
            "images": [IMAGE],
        },
    ],
    "vlm-r1": [
        {
            "id": 1,
            "image": IMAGE,
            "conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "3"}],
        }
    ],
}


def decode(row: dict[str, Any]) -> Sample:
    layout = recognise(frozenset(row), "x")
    assert layout is not None
    (record,) = layout.reader(row)
    return codec.decode_sample({**record, "id": "s"}, Path("/data"))


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, rows in ROWS.items() for row in rows])
def test_published_rows_are_recognised_and_say_the_same(name: str, row: dict[str, Any]):
    assert recognise(frozenset(row), "x") is LAYOUTS[name]
    found = decode(row)
    assert (found.question.problem, found.question.answer) == ("<image>?", ("3",))
    assert found.images == (ImageRef(data=picture()),)


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, rows in ROWS.items() for row in rows])
def test_ids_that_are_integers_become_texts(tmp_path: Path, name: str, row: dict[str, Any]):
    rows = [json.loads(json.dumps(row | {"id": number}, default=codec.jsonable)) for number in (0, 7, 7)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    bad = Rejects(tmp_path / "bad")
    assert [one.id for one in read_samples(str(tmp_path / "d.jsonl"), bad)] == ["0", "7"], name
    reject = json.loads((tmp_path / "bad").read_text())
    assert (reject["id"], reject["line"], reject["field"]) == ("7", 3, "id")


def test_an_integer_among_the_extras_of_verl_is_the_id():
    row = {"prompt": "?", "reward_model": {"ground_truth": "3"}, "extra_info": {"id": 5}}
    (record,) = LAYOUTS["verl"].reader(row)
    assert codec.decode_sample(record, Path()).id == "5"


def test_a_reject_of_a_reader_names_an_id_that_is_an_integer(tmp_path: Path):
    (tmp_path / "d.jsonl").write_text('{"id": 1, "conversations": []}\n')
    assert list(read_samples(str(tmp_path / "d.jsonl"), Rejects(tmp_path / "bad"))) == []
    assert json.loads((tmp_path / "bad").read_text())["id"] == "1"


@pytest.mark.parametrize(
    "pictures",
    [
        {"images": None, "image": "a.png"},
        {"images": [], "image": "a.png"},
        {"images": ["a.png"], "image": None},
        {"images": [{"image": "a.png"}]},
    ],
)
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "<image>?", "reward_model": {"ground_truth": "3"}},
        {"prompt": "<image>?", "solution": "3"},
        {"messages": [{"role": "user", "content": "<image>?"}], "solution": "3"},
        {"problem": "<image>?", "answer": "3"},
    ],
)
def test_a_picture_is_found_wherever_it_is_given(row: dict[str, Any], pictures: dict[str, Any]):
    assert [one.path for one in decode(row | pictures).images] == ["/data/a.png"]


def test_what_a_verl_row_says_besides_is_kept():
    found = decode(ROWS["verl"][0])
    assert found.question.source == "hiyouga/geometry3k"
    assert found.extra["extra_info"] == {"split": "train", "index": 7, "answer": "3"}
    assert decode(ROWS["verl"][1]).extra == {"system": "Be brief."}


@pytest.mark.parametrize(
    ("method", "kind"),
    [("mcq", "multiple-choice"), ("yes_no", "boolean"), ("math", "math-expressions"), ("llm", "any")],
)
def test_the_reward_method_of_vlm_r1_tells_the_answer_type(method: str, kind: str):
    assert decode(ROWS["vlm-r1"][0] | {"accu_reward_method": method}).question.answer_type == kind


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "How many?"}], "images": ["a.png", "b.png"], "solution": "3"},
        {"prompt": "How many?", "images": ["a.png", "b.png"], "solution": "3"},
        {
            "conversations": [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": 3}],
            "image": ["a.png", "b.png"],
        },
    ],
)
def test_trainers_that_need_no_marks_put_the_images_first(row: dict[str, Any]):
    found = decode(row)
    assert found.question.problem == "<image><image>\nHow many?"
    assert [one.path for one in found.images] == ["/data/a.png", "/data/b.png"]
    assert found.question.answer == ("3",)


def test_images_inside_a_message_are_taken():
    parts = [{"type": "text", "text": "Look: "}, {"type": "image", "image": "a.png"}, {"type": "text", "text": "?"}]
    found = decode({"prompt": [{"role": "user", "content": parts}], "answer": ["3", "three"]})
    assert (found.question.problem, found.images[0].path) == ("Look: <image>?", "/data/a.png")
    assert found.question.answer == ("3", "three")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"messages": [{"role": "user", "content": "?"}]}, "answer"),  # no gold anywhere
        ({"messages": [{"role": "user", "content": "?"}] * 2, "solution": "3"}, "messages"),  # several turns
        ({"messages": [], "solution": "3"}, "messages"),
        ({"messages": [{"role": "user", "content": "<bbox>?"}], "solution": "3"}, "messages"),
        ({"messages": [{"role": "user", "content": "?"}], "videos": ["a.mp4"], "solution": "3"}, "videos"),
        ({"prompt": [{"role": "user", "content": [{"type": "video"}]}], "solution": "3"}, "prompt"),
        ({"prompt": 3, "solution": "3"}, "prompt"),
        (
            {"prompt": [{"role": "user", "content": "?"}], "reward_model": {"style": "model"}},
            "reward_model.ground_truth",
        ),
        ({"conversations": [{"from": "human", "value": "?"}]}, "conversations"),
        ({"problem": "?", "answer": {"target": ["3"]}}, "answer"),
        ({"problem": "?", "answer": "3", "ovrl": "torn"}, "ovrl"),
    ],
)
def test_a_row_that_cannot_be_one_problem_names_its_field(row: dict[str, Any], field: str):
    with pytest.raises(RecordError) as caught:
        decode(row)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"problem", "answer", "prompt"}, ["easyr1", "trl"]),
        ({"problem", "answer", "answer_type", "messages"}, ["canonical", "ms-swift"]),
        ({"messages", "conversations"}, ["ms-swift", "vlm-r1"]),
    ],
)
def test_ambiguity_is_refused_by_name(columns: set[str], names: list[str]):
    with pytest.raises(UsageError) as caught:
        recognise(frozenset(columns), "d.jsonl")
    for name in names:
        assert f"{name} (" in str(caught.value)
    assert f"--from {names[0]} d.jsonl" in str(caught.value)


@pytest.mark.parametrize("name", ["d.parquet", "d.jsonl"])
def test_columns_of_no_layout_are_refused_with_the_way_out(tmp_path: Path, name: str):
    row = {"qid": "1", "question": "?", "answer": "3"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "d.parquet")
    (tmp_path / "d.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=rf"answer, qid, question; known: canonical.*--from virl39k .*{name}"):
        next(read_samples(str(tmp_path / name), Rejects(None)))


def test_bad_rows_at_the_head_of_a_file_do_not_decide_its_layout(tmp_path: Path):
    rows = [{"note": "x"}, {}, {"id": "a", "messages": [{"role": "user", "content": "?"}], "solution": "3"}]
    (tmp_path / "d.jsonl").write_text("torn\n" + "".join(json.dumps(row) + "\n" for row in rows))
    bad = Rejects(None)
    assert [one.id for one in read_samples(str(tmp_path / "d.jsonl"), bad)] == ["a"]
    assert bad.count == 3


def test_an_ambiguous_file_is_refused_before_anything_is_read(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"problem": "?", "answer": "3"}\n')
    (tmp_path / "b.jsonl").write_text('torn {\n{"problem": "?", "answer": "3", "messages": []}\n')
    with pytest.raises(UsageError, match=r"b\.jsonl.*easyr1.*ms-swift"):
        next(read_samples(str(tmp_path), Rejects(None)))


def test_files_of_several_layouts_are_one_data_set(tmp_path: Path):
    for number, name in enumerate(("easyr1", "ms-swift", "vlm-r1")):
        text = json.dumps(ROWS[name][0] | {"id": f"s{number}"}, default=lambda data: codec.jsonable(data))
        (tmp_path / f"{number}.jsonl").write_text(text + "\n")
    pq.write_table(pa.Table.from_pylist(ROWS["verl"][:1]), tmp_path / "9.parquet")
    bad = Rejects(None)
    found = list(read_samples(str(tmp_path), bad))
    assert bad.count == 0
    assert {(one.question.problem, one.question.answer, len(one.images)) for one in found} == {("<image>?", ("3",), 1)}
    assert [one.id for one in found[:3]] == ["s0", "s1", "s2"]


FULL = sample(
    "s1",
    problem="<image>a<image>b",
    answer=("3", "three"),
    answer_type="number",
    problem_type="counting",
    prompt_type="thinking",
    images=(ref("red"), ref("blue")),
    source="made",
    format_guidance="A number.",
    meta={"bbox": {"scale": "norm1"}},
    extra={"level": 3, "tags": ["x"]},
)
BARE = sample("s2", problem="What?", images=(), source=None, prompt_type="normal")


def there_and_back(name: str, made: Sample) -> Sample:
    layout = LAYOUTS[name]
    row = layout.write(made, codec.encode_images(made))
    row = {column: value for column, value in row.items() if value is not None}
    assert recognise(frozenset(row), "x") is layout
    (record,) = layout.reader(row)
    return codec.decode_sample(record, Path("/data"))


@pytest.mark.parametrize("made", [FULL, BARE])
@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_is_lost_on_the_way_and_back(name: str, made: Sample):
    assert there_and_back(name, made) == made


@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"canonical"}))
@settings(max_examples=40, deadline=None)
@given(
    problem=st.text(st.characters(exclude_categories=("Cs",))).filter(bool),
    answers=st.lists(st.text(st.characters(exclude_categories=("Cs",))), min_size=1, max_size=3),
)
def test_any_text_comes_back(name: str, problem: str, answers: list[str]):
    made = sample("s", problem=problem, answer=tuple(answers), images=())
    assert there_and_back(name, made) == made


@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"canonical"}))
def test_an_answer_that_was_changed_in_the_other_layout_counts(name: str):
    row = LAYOUTS[name].write(FULL, [])
    text = json.dumps(row).replace('"answer": "3"', '"answer": "4"').replace('"solution": "3"', '"solution": "4"')
    text = text.replace('"ground_truth": "3"', '"ground_truth": "4"').replace('"value": "3"', '"value": "4"')
    (record,) = LAYOUTS[name].reader(json.loads(text))
    assert record["answer"] == ["4"]


def test_what_the_trainers_look_for_is_there():
    cells = codec.encode_images(FULL)
    verl = LAYOUTS["verl"].write(FULL, cells)
    assert verl["prompt"] == [{"role": "user", "content": "<image>a<image>b"}]
    assert verl["reward_model"] == {"style": "rule", "ground_truth": "3"}
    assert (verl["data_source"], verl["ability"], len(verl["images"])) == ("made", "counting", 2)
    assert LAYOUTS["easyr1"].write(FULL, cells)["answer"] == "3"
    kinds = [part["type"] for part in LAYOUTS["trl"].write(FULL, cells)["prompt"][0]["content"]]
    assert kinds == ["image", "text", "image", "text"]
    vlm = LAYOUTS["vlm-r1"].write(FULL, ["images/a.png", "images/b.png"])
    assert vlm["image"] == ["images/a.png", "images/b.png"]
    assert [turn["from"] for turn in vlm["conversations"]] == ["human", "gpt"]
    swift = LAYOUTS["ms-swift"].write(FULL, ["images/a.png", "images/b.png"])
    assert swift["messages"] == [{"role": "user", "content": "<image>a<image>b"}]
    assert (swift["solution"], swift["images"]) == ("3", ["images/a.png", "images/b.png"])
