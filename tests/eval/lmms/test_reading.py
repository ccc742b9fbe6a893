import pytest

from ovrl.eval.lmms.harness.adapters import reading
from ovrl.eval.lmms.harness.adapters.choice import bracketed, columns, within
from ovrl.eval.lmms.harness.adapters.instructions import without

OPTIONS = {"A": "a cat", "B": "two dogs", "C": "Vitamin C", "D": "Vitamin D"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("(b)", "B"), ("**B**", "B"), ("\\boxed{B}", "B"), ("B. two dogs", "B"), ("two dogs", "B"),
        ("The answer is b.", "B"), ("Vitamin D", "D"), ("The answer is Vitamin D.", "D"), ("They are two dogs.", "B"),
        ("I first thought of A. The answer is (D).", "D"), ("<answer>A", "A"), ("", None), ("A or B", None),
        ("a cat and two dogs", None), ("E", None), ("I cannot tell.", None),
    ],
)  # fmt: skip
def test_an_option_is_read_as_a_person_would(text: str, letter: str | None):
    assert reading.letter(text, OPTIONS) == letter


@pytest.mark.parametrize(
    ("text", "number"),
    [("seven", "7"), ("There are 12 chairs.", "12"), ("1,440 cm", "1440"), ("\\frac{3}{4}", "0.75"), ("-2.50", "-2.5"),
     ("3 or 4", None), ("\\sqrt{3}", None), ("2^3", None), ("none at all", None)],
)  # fmt: skip
def test_a_number_is_read_and_an_expression_is_none(text: str, number: str | None):
    assert reading.number(text) == number


@pytest.mark.parametrize(
    ("text", "stated"),
    [("The answer is Paris.", "Paris"), ("Answer: **$5**\nBecause.", "$5"), ("so \\boxed{x + 1}.", "x + 1"),
     ("$ 12.50", "$ 12.50"), ("Inc...", "Inc..."), ('"Exit"', "Exit"), ("Answer sheet", "Answer sheet")],
)  # fmt: skip
def test_what_is_stated_stands_without_its_frame(text: str, stated: str):
    assert reading.stated(text) == stated


def test_options_are_found_where_they_stand():
    listed = within("question", r"([A-D])[:.]\s+", default="ABCD")
    assert listed({"question": "Which?\nOptions: A: left, B: on the. top, C: right"}) == {
        "A": "left",
        "B": "on the. top",
        "C": "right",
    }
    assert listed({"question": "Which one of Vitamin C. and others?"}) == dict.fromkeys("ABCD", "")
    assert columns("", "ABCD")({"A": "x", "B": "y", "C": "nan", "D": float("nan")}) == {"A": "x", "B": "y"}
    assert bracketed("options")({"options": ["(A) x", "（B）y"]}) == {"A": "x", "B": "y"}


@pytest.mark.parametrize(
    "own",
    [
        "\nAnswer with the option's letter from the given choices directly.",
        " Please answer directly with a single word or number.",
        "\nSelect the best answer to the above multiple-choice question based on the image. Respond with only the "
        "letter (A, B, C, D, or E) of the correct option.\nThe best answer is: ",
    ],
)
def test_upstreams_instructions_are_taken_away_and_questions_are_not(own: str):
    assert without(f"Answer with care: what is the best answer?{own}") == "Answer with care: what is the best answer?"
