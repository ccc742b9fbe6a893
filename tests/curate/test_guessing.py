import pytest

from ovrl.curate import guessing
from ovrl.records import Question


@pytest.mark.parametrize(
    ("answer_type", "problem", "answer", "want"),
    [
        ("multiple-choice", "A. x B. y C. z", ("B",), 1 / 3),
        ("multiple-choice", "Choose a letter.", ("B",), 1 / 4),
        ("multiple-choice", "A. x B. y C. z D. w", ("B", "(d)"), 1 / 2),  # either letter counts
        ("multiple-choice", "A. x B. y C. z D. w", ("B", "(B)"), 1 / 4),
        ("multiple-choice", "A. x B. y C. z D. w", ("the red one",), 1 / 4),
        ("multiple-choice", "A. x B. y C. z D. w", ("AC",), 1 / 15),  # one of 15 sets
        ("boolean", "Is it?", ("yes",), 0.5),
        ("number", "A. x B. y", ("3",), 0.0),
        ("bbox", "", ("[0,0,1,1]",), 0.0),
        ("any", "", ("B",), 0.0),
    ],
)
def test_chance_level(answer_type, problem, answer, want):
    question = Question(problem=problem, answer=answer, answer_type=answer_type)
    assert guessing.chance(question) == pytest.approx(want)


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({}, 3),
        ({"answer": (" 12 ",)}, 12),
        ({"answer": ("21",)}, None),
        ({"answer": ("3.5",)}, None),
        ({"answer": ("-3",)}, None),
        ({"answer": ("3", "4")}, None),
        ({"problem_type": "stem"}, None),
        ({"answer_type": "any"}, None),
    ],
)
def test_small_counts(fields, want):
    given = {"answer": ("3",), "answer_type": "number", "problem_type": "counting", **fields}
    assert guessing.small_count(Question(**given)) == want


def test_the_chance_of_a_count_is_its_share_among_the_others():
    answers = guessing.CountAnswers()
    for value in [2] * 20 + [3] * 10 + [9]:
        answers.add("pixmo", value)
    for value in [2] * 5:
        answers.add("tiny", value)
    for value in [2] * 40 + [None] * 400:  # 400 answers that are no small count
        answers.add("wide", value)
    assert answers.chance("pixmo", 2) == pytest.approx(19 / 30)
    assert answers.chance("pixmo", 3) == pytest.approx(9 / 30)
    assert answers.chance("pixmo", 9) == 0.0  # nobody guesses what no other sample has
    assert answers.chance("tiny", 2) == 0.0  # too few to tell
    assert answers.chance("wide", 2) == pytest.approx(39 / 439)
