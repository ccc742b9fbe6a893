"""Each source: a raw row as the data set has it, made by hand, and the sample that must come out."""

import base64
import inspect
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from builders import picture
from ovrl import codec
from ovrl.curate.sources.fields import letter, texts, with_marks
from ovrl.curate.sources.reader import NamedReader
from ovrl.curate.sources.table import SOURCES
from ovrl.errors import RecordError, UsageError
from ovrl.plugins import resolve
from ovrl.records import ANSWER_TYPES, Sample

IMAGE = {"bytes": picture(), "path": "p.png"}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "virl39k": (
        {
            "qid": "Processed-x-0",
            "question": "<image>\nFind $x$.",
            "answer": "\\boxed{\\frac{1}{2}}",
            "image": ["images/a.png"],
            "category": "Spatial Reasoning",
            "source": "Processed",
            "PassRate_7BBase": 0.25,
        },
        {
            "id": "virl39k-Processed-x-0",
            "problem": "<image>\nFind $x$.",
            "answer": ("\\frac{1}{2}",),
            "kinds": ("math-expressions", "spatial-reasoning", "thinking", "virl39k"),
            "images": ["/data/images/a.png"],
            "meta": {"category": "Spatial Reasoning", "source": "Processed", "PassRate_7BBase": 0.25},
        },
    ),
    "ref-l4": (
        {
            "id": 12,
            "caption": "The Red Bus",
            "bbox": [64.0, 24.0, 128.0, 120.0],
            "width": 640,
            "height": 480,
            "file_name": "o365.jpg",
        },
        {
            "id": "ref-l4-12",
            "problem": "The Red Bus",
            "answer": ("[0.1, 0.05, 0.3, 0.3]",),
            "kinds": ("bbox", "grounding", "normal", "ref-l4"),
            "images": ["/data/o365.jpg"],
            "meta": {"bbox": {"scale": "norm1", "width": 640.0, "height": 480.0}},
        },
    ),
    "vigorl-sa": (
        {
            "problem": "<image>\nWhat is on (A)n edge? (A) cup\n(B) hat\n"
            "Answer with the option's letter from the given choices directly.",
            "image_paths": ["visual_search/a.jpg"],
            "answer": " b ",
        },
        {
            "problem": "<image>\nWhat is on\nChoices:\n(A)n edge? (A) cup\n(B) hat",  # the first "(A)" alone
            "answer": ("B",),
            "kinds": ("multiple-choice", "grounding", "normal", "vigorl-sa"),
            "images": ["/data/visual_search/a.jpg"],
        },
    ),
    "pixmo-count": (
        {"image": IMAGE, "count": 4, "label": "people"},
        {
            "problem": "people",
            "answer": ("4",),
            "kinds": ("number", "counting", "normal", "pixmo-count"),
            "images": ["p.png"],
        },
    ),
    "webcode2m": (
        {"image": IMAGE, "text": "<html><p>Hi</p></html>", "lang": "en", "bbox": {"x": 1}},
        {
            "problem": "HTML",
            "answer": ("<html><p>Hi</p></html>",),
            "kinds": ("html-code", "coding", "thinking", "webcode2m"),
            "images": ["p.png"],
            "meta": {"lang": "en"},
        },
    ),
    "unisvg": (
        {"type": "ISVGEN", "image_path": "a.png", "q_text": "Draw this.", "a_text": "<svg></svg>"},
        {
            "problem": "<image>\nDraw this.",  # the raw text has no mark
            "answer": ("<svg></svg>",),
            "kinds": ("svg-code", "coding", "thinking", "unisvg"),
            "images": ["/data/a.png"],
        },
    ),
    "infovqa": (
        {"questionId": "98", "question": "How many?", "image": IMAGE, "answers": ["12%", "12 percent", "12%"]},
        {
            "id": "infovqa-98",
            "problem": "<image>\nHow many?",
            "answer": ("12%", "12 percent"),
            "kinds": ("ocrtext", "ocr", "normal", "infovqa"),
            "images": ["p.png"],
        },
    ),
    "mathvision": (
        {
            "id": "4",
            "question": "Which?\n<image1>",
            "options": ["12", "14"],
            "decoded_image": IMAGE,
            "image": "images/4.jpg",
            "answer": "B",
            "level": 2,
        },
        {
            "id": "mathvision-4",
            "problem": "<image>\nWhich?\n\nOptions:\nA. 12\nB. 14",
            "answer": ("B",),
            "kinds": ("multiple-choice", "stem", "thinking", "mathvision"),
            "images": ["p.png"],
            "meta": {"level": 2},
        },
    ),
    "mmstar": (
        {"index": 5, "question": "Which?\nOptions: A: x, B: y", "image": IMAGE, "answer": "A", "category": "math"},
        {
            "id": "mmstar-5",
            "problem": "<image>\nWhich?\nOptions: A: x, B: y",
            "answer": ("A",),
            "kinds": ("multiple-choice", "general", "thinking", "mmstar"),
            "images": ["p.png"],
            "meta": {"category": "math"},
        },
    ),
    "treebench": (
        {
            "question": "Which?",
            "multi-choice options": "A. x\nB. y",
            "image": base64.b64encode(picture()).decode(),
            "answer": "A",
        },
        {
            "problem": "<image>\nWhich?\nA. x\nB. y",
            "answer": ("A",),
            "kinds": ("multiple-choice", "grounding", "thinking", "treebench"),
            "images": [None],
        },
    ),
    "docvqa": (
        {"questionId": "7", "question": "Who?", "image": IMAGE, "answers": ["T. F. Riehl", "TF Riehl"]},
        {
            "id": "docvqa-7",
            "problem": "<image>\nWho?",
            "answer": ("T. F. Riehl", "TF Riehl"),
            "kinds": ("ocrtext", "ocr", "thinking", "docvqa"),
            "images": ["p.png"],
        },
    ),
    "ocrbench": (
        {"id": 3, "question": "Read it.", "image": IMAGE, "answers": ["STOP"], "type": "text recognition en"},
        {
            "id": "ocrbench-3",
            "problem": "<image>\nRead it.",
            "answer": ("STOP",),
            "kinds": ("ocrtext", "ocr", "thinking", "ocrbench"),
            "images": ["p.png"],
            "meta": {"type": "text recognition en"},
        },
    ),
    "codeforces": (
        {
            "id": "852/A",
            "description": "Add.",
            "input_format": "Two numbers.",
            "output_format": "Their sum.",
            "official_tests": [{"input": "1 2", "output": "3"}],
        },
        {
            "id": "codeforces-852-A",
            "problem": "def solution(input)",
            "answer": (json.dumps({"tests": [{"input": "1 2", "output": "3"}], "checker": None}),),
            "kinds": ("general-code", "coding", "thinking", "codeforces"),
            "images": [],
        },
    ),
}


def convert(name: str, row: dict[str, Any], *, seed: int = 42) -> list[Sample]:
    return [codec.decode_sample(record, Path("/data")) for record in NamedReader(name, seed=seed)(row)]


def kinds(sample: Sample) -> tuple[Any, ...]:
    question = sample.question
    return question.answer_type, question.problem_type, question.prompt_type, question.source


@pytest.mark.parametrize("name", CASES)
def test_a_raw_row_becomes_its_sample(name: str):
    row, want = CASES[name]
    (found,) = convert(name, row)
    assert want["problem"] in found.question.problem
    assert found.question.problem.count("<image>") == len(found.images)
    assert found.question.answer == want["answer"]
    assert kinds(found) == want["kinds"]
    assert [image.path for image in found.images] == want["images"]
    assert found.question.meta == want.get("meta", {})
    assert found.id == want.get("id", found.id)
    assert not found.extra


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_documented_and_refuses_a_row_without_its_fields(name: str):
    source = resolve(name, SOURCES, "source")
    assert "Raw row" in (inspect.getmodule(source).__doc__ or "")
    if name != "unisvg":  # a row without a type is another task of that set
        with pytest.raises((RecordError, LookupError, TypeError)):
            source({}, seed=1)


@pytest.mark.parametrize("name", CASES)
def test_ids_do_not_depend_on_the_seed(name: str):
    row, _ = CASES[name]
    assert convert(name, row, seed=1)[0] == convert(name, row, seed=2)[0]


@pytest.mark.parametrize(
    ("answer", "gold", "kind"),
    [
        ("c", "C", "multiple-choice"),
        ("\\boxed{K}", "K", "math-expressions"),
        ("\\boxed{1}, \\boxed{2}", "\\boxed{1}, \\boxed{2}", "math-expressions"),  # not one box
        ("\\boxed{2", "\\boxed{2", "math-expressions"),
        ("(B)", "(B)", "math-expressions"),
    ],
)
def test_virl39k_takes_off_one_whole_box_and_knows_lone_letters(answer: str, gold: str, kind: str):
    (found,) = convert("virl39k", CASES["virl39k"][0] | {"answer": answer})
    assert (found.question.answer, found.question.answer_type) == ((gold,), kind)


def test_virl39k_charts_are_ocr_and_the_rest_is_stem():
    row = CASES["virl39k"][0]
    charts, rest = (convert("virl39k", row | {"category": c})[0] for c in ("Tables/Diagrams/Charts", "Physics"))
    assert (charts.question.problem_type, rest.question.problem_type) == ("ocr", "stem")


@pytest.mark.parametrize("bbox", [[700, 10, 20, 20], [10, 10, 0, 5], [1, 2, 3]])
def test_ref_l4_boxes_lie_inside_the_image(bbox: list[float]):
    row = CASES["ref-l4"][0]
    (found,) = convert("ref-l4", row | {"bbox": [-6.4, 0, 704, 480]})
    assert found.question.answer == ("[0.0, 0.0, 1.0, 1.0]",)
    with pytest.raises((RecordError, ValueError)):
        convert("ref-l4", row | {"bbox": bbox})


SAT = {
    "problem": "<image>\nQuestion: How many? Answer with the text of the option.\nAnswer Choices:\nA. 2\nB. 14",
    "image_paths": ["a.png"],
    "answer": "14",
}


def test_vigorl_sat_asks_half_of_the_questions_with_options_whatever_their_order():
    rows = [SAT | {"image_paths": [f"{i}.png"]} for i in range(400)]
    found = [convert("vigorl-sat", row)[0] for row in rows]
    again = [convert("vigorl-sat", row)[0] for row in reversed(rows)][::-1]
    assert found == again
    counts = Counter((one.question.answer_type, one.question.answer, one.question.problem) for one in found)
    choice = ("multiple-choice", ("B",), "<image>\nHow many?\nChoices:\n(A) 2\n(B) 14")
    assert set(counts) == {choice, ("number", ("14",), "<image>\nHow many?")}
    assert 160 < counts[choice] < 240
    other = [convert("vigorl-sat", row, seed=7)[0] for row in rows]
    assert {one.id for one in other} == {one.id for one in found}  # ids are stable
    assert [one.question for one in other] != [one.question for one in found]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("yes", "boolean"), ("False", "boolean"), ("14", "number"), ("B", "multiple-choice"), ("left", "any")],
)
def test_an_open_question_of_vigorl_sat_gets_the_rule_of_its_answer(answer: str, kind: str):
    row = SAT | {"problem": f"Question: Which?\nAnswer Choices:\nA. {answer}\nB. other", "answer": answer}
    opened = (convert("vigorl-sat", row, seed=seed)[0].question for seed in range(20))
    assert next(one for one in opened if "Choices" not in one.problem).answer_type == kind


@pytest.mark.parametrize("answer", ["15", "B"])
def test_vigorl_sat_refuses_an_answer_that_is_no_option(answer: str):
    with pytest.raises(RecordError, match="none of the options"):
        convert("vigorl-sat", SAT | {"answer": answer})


def test_pixmo_count_finds_downloaded_files_by_their_digest_and_takes_prepared_rows():
    published = {"image_url": "https://x/y.jpg", "image_sha256": "ab12", "count": 0, "label": "dogs"}
    (found,) = convert("pixmo-count", published)
    assert (found.images[0].path, found.question.answer) == ("/data/ab12", ("0",))
    (prepared,) = convert("pixmo-count", {"images": [IMAGE], "problem": "How many?", "answer": "3"})
    assert prepared.question.problem == "<image>\nHow many?"
    with pytest.raises(RecordError, match="count"):
        convert("pixmo-count", published | {"count": None})


def test_unisvg_takes_one_kind_and_counts_the_others():
    reader = NamedReader("unisvg", seed=1)
    assert reader(CASES["unisvg"][0] | {"type": "SVGUN"}) == []
    assert reader.skipped == 1


def test_infovqa_as_vidore_has_it():
    (found,) = convert("infovqa", {"query": "How many?", "image": IMAGE, "answer": "3.5."})
    assert found.question.answer == ("3.5",)


def test_every_question_of_an_ai2d_row_is_a_sample():
    turns = [
        {"user": "Question: Which?\nChoices:\nChoice A: x\nAnswer with the letter.", "assistant": "Answer: A"},
        {"user": "What eats the fly?", "assistant": "Answer: a frog"},
    ]
    first, second = convert("ai2d", {"images": [IMAGE], "texts": turns})
    assert first.question.problem == "<image>\nQuestion: Which?\nChoices:\nChoice A: x"
    assert (first.question.answer, *kinds(first)) == (("A",), "multiple-choice", "stem", "normal", "ai2d")
    assert (second.question.answer, second.question.answer_type) == (("a frog",), "any")
    assert first.id != second.id


def test_mathvision_names_the_parts_of_its_picture():
    row = CASES["mathvision"][0]
    (open_,) = convert("mathvision", row | {"options": [], "answer": "\\frac12"})
    assert open_.question.answer_type == "math-expressions"
    drawn = {"question": "Is <image1> or <image2>?", "options": ["A", "B"]}
    (found,) = convert("mathvision", row | drawn)
    assert found.question.problem == "<image>\nIs (picture 1) or (picture 2)?"  # the options are in the picture
    assert found.question.answer_type == "multiple-choice"


MMMU = {
    "id": "validation_Biology_3",
    "question": "Compare <image 2> with <image 1>.",
    "options": "['x', \"y's\"]",
    "answer": "B",
    "image_1": {"bytes": picture(color="red"), "path": "1.png"},
    "image_2": {"bytes": picture(color="blue"), "path": "2.png"},
}


def test_mmmu_images_follow_their_marks():
    (found,) = convert("mmmu", MMMU)
    assert found.question.problem == "Compare <image> with <image>.\nOptions:\nA. x\nB. y's"
    assert [image.path for image in found.images] == ["2.png", "1.png"]
    assert (found.id, *kinds(found)) == ("mmmu-validation_Biology_3", "multiple-choice", "stem", "thinking", "mmmu_bio")
    (more,) = convert("mmmu", MMMU | {"question": "What?", "options": "['<image 1>', '<image 1>']"})
    assert [image.path for image in more.images] == ["2.png", "1.png", "1.png"]  # unnamed ones come first
    with pytest.raises(RecordError, match="image_3"):
        convert("mmmu", MMMU | {"question": "<image 3>?"})


@pytest.mark.parametrize(
    ("answer", "golds"),
    [("['3', '3.0']", ("3", "3.0")), (["3", "4"], ("3", "4")), ("42", ("42",)), ("[0, 1)", ("[0, 1)",))],
)
def test_open_questions_of_mmmu_are_no_choices_and_keep_every_answer(answer: Any, golds: tuple[str, ...]):
    (found,) = convert("mmmu", MMMU | {"options": "[]", "answer": answer})
    assert (found.question.answer_type, found.question.answer) == ("math-expressions", golds)
    assert "Options" not in found.question.problem


def refspatial(answer: str, question: str = "<image>\nWhere is it?") -> Sample:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    (found,) = convert("refspatial", {"id": 1, "image": "a.png", "conversations": turns})
    return found


def test_refspatial_golds_tell_their_rule():
    choice = refspatial("(B) the left one")
    assert (choice.question.answer, *kinds(choice)) == (("B",), "multiple-choice", "embodied", "thinking", "refspatial")
    points = refspatial("[(0.5, 0.02), (0.9, 0.98)]", "Point. Your answer should be formatted as a list of tuples, ...")
    assert points.question.answer == ("[0.45, 0.0, 0.55, 0.07]", "[0.85, 0.93, 0.95, 1.0]")  # each one counts
    assert points.question.answer_type == "bbox"
    assert "tuples" not in points.question.problem
    boxes = refspatial("[[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.6, 0.6]]")
    assert boxes.question.answer == ("[0.1, 0.2, 0.3, 0.4]", "[0.5, 0.5, 0.6, 0.6]")
    assert refspatial("It is behind.").question.answer_type == "critic"


def test_every_pair_of_turns_of_refspatial_is_a_sample_with_the_images():
    turns = [
        {"from": who, "value": text}
        for who, text in (("human", "<image>\nFirst?"), ("gpt", "(A)"), ("human", "Second?"), ("gpt", "no"))
    ]
    first, second = convert("refspatial", {"id": 1, "image": ["a.png"], "conversations": turns})
    assert (first.question.problem, second.question.problem) == ("<image>\nFirst?", "<image>\nSecond?")
    assert first.id != second.id
    with pytest.raises(RecordError, match="turns of human and gpt"):
        convert("refspatial", {"image": ["a.png"], "conversations": turns[:3]})


def test_codeforces_leaves_out_what_only_a_checker_can_judge():
    row = CASES["codeforces"][0]
    assert convert("codeforces", row | {"generated_checker": "def check(): ..."}) == []
    with pytest.raises(RecordError, match="official_tests"):
        convert("codeforces", row | {"official_tests": []})


def test_a_source_of_your_own_is_a_file_and_a_function(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "def convert(row, *, seed):\n    return {'problem': row['q'], 'answer': str(seed)} if row['q'] else None\n"
    )
    reader = NamedReader(f"{tmp_path}/mine.py:convert", seed=5)
    assert reader({"q": "What?"}) == [{"problem": "What?", "answer": "5"}]
    assert (reader({"q": ""}), reader.skipped) == ([], 1)
    with pytest.raises(UsageError, match="Did you mean 'virl39k'"):
        NamedReader("virl-39k", seed=1)


@pytest.mark.parametrize(
    ("problem", "count", "want"),
    [
        ("What?", 2, "<image><image>\nWhat?"),
        ("<image> and <image> and <image>", 2, "<image> and <image> and"),
        ("a <image> b <image> c", 1, "a <image> b  c"),
        ("a <image> b", 2, "<image>\na <image> b"),
        (" What? ", 0, "What?"),
    ],
)
def test_marks_are_made_to_match_the_images(problem: str, count: int, want: str):
    assert with_marks(problem, count) == want


@pytest.mark.parametrize(
    ("answer", "want"), [("b", "B"), ("(B)", "B"), ("B.", "B"), (" c) ", "C"), ("BC", None), ("K", None), ("", None)]
)
def test_a_letter_is_an_option_only_when_it_stands_alone(answer: str, want: str | None):
    assert letter(answer, last="J") == want


def test_blank_texts_are_no_answers():
    assert texts({"a": ["x", " ", "x", 3]}, "a") == ["x", "3"]
    for row in ({"a": [" "]}, {"a": None}, {}):
        with pytest.raises(RecordError, match="a: "):
            texts(row, "a")


def test_answer_types_are_known():
    assert {want["kinds"][0] for _, want in CASES.values()} <= set(ANSWER_TYPES)
