import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, check_work_grows_with_length, outcome

from ovrl.records import Question
from ovrl.reward.choice import score


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        " (b) ",
        "B.",
        "B. the red cube",
        "B) cube",
        "(B) 12 cm",
        "B: cube",
        "B、气球",
        "B 38°",
        ".B",
        "((B))",
        "**B**",
        "$B$",
        "`B`",
        "“B”",
        "{B}",
        "-B",
        "<b>B</b>",
        "\\text{(B)}",
        "$\\boxed{B}$",
        "（Ｂ）",
        "\ufeffB",
        "Answer: B",
        "The answer is B",
        "Option B",
        "选B",
        "I think it is B.",
        "Not A, but B",
        "B\n\nC and D are smaller.",
    ],
)
def test_reads_the_letter_however_it_is_dressed(answer: str):
    assert outcome(score, answer, "B") == (1.0, "ok")


@pytest.mark.parametrize(
    ("answer", "gold", "reward", "status"),
    [
        ("A", "B", 0.0, "ok"),
        ("Because it is red", "B", 0.0, "parse_error"),  # a word is no letter
        ("A red cube", "A", 0.0, "parse_error"),
        ("Cannot be determined", "C", 0.0, "parse_error"),
        ("c'est la vie", "C", 0.0, "parse_error"),
        ("Answer", "A", 0.0, "parse_error"),
        ("B or C", "B", 0.0, "ambiguous"),
        ("A/B", "A", 0.0, "ambiguous"),
        ("(C) (A)", "C", 0.0, "ambiguous"),
        ("A, B, C, D", "C", 0.0, "ambiguous"),
        ("D\nA\nB\nC", "D", 0.0, "ambiguous"),
        ("AB", "A", 0.0, "ambiguous"),
        ("AB", "AB", 1.0, "ok"),  # several right options
        ("B and A", "AB", 1.0, "ok"),
        ("A", "AB", 0.0, "ok"),
        ("А", "A", 0.0, "parse_error"),  # Cyrillic
        ("", "A", 0.0, "no_answer"),
        ("  ", "A", 0.0, "no_answer"),
        ("B", "(B) cube", 1.0, "ok"),  # golds are read like answers
        ("red", "Red", 1.0, "ok"),  # a gold without a letter is compared as text
        ("B", "", None, "invalid_gold"),
    ],
)
def test_one_letter_must_be_named(answer: str, gold: str, reward: float | None, status: str):
    assert outcome(score, answer, gold) == (reward, status)


def test_any_gold_counts_and_no_tag_is_no_answer():
    assert outcome(score, "C", "A", "C") == (1.0, "ok")
    assert score(Question(answer=("B",)), "B", "strict").status == "no_answer"
    assert score(Question(), "<answer>B</answer>", "strict").status == "invalid_gold"


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("Both", "B", 1.0),
        ("Answer: B", "A", 1.0),
        ("**B**", "B", 0.0),
        ("( B )", "B", 0.0),
        ("(B) x", "b", 1.0),
        ("B", "(B)", 0.0),
        ("ß", "SS", 1.0),
    ],
)
def test_ov15_takes_the_first_character(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold, mode="ov15").reward == reward


@given(st.text(), st.text(max_size=5), st.sampled_from(["strict", "ov15"]))
def test_never_raises_and_stays_in_range(text, gold, mode):
    check_range(ask(score, text, gold, mode=mode))


@pytest.mark.parametrize(
    ("answer", "gold", "reward", "status"),
    [
        ("BA", "AB", 1.0, "ok"),
        ("ba", "AB", 1.0, "ok"),
        ("b, a", "AB", 1.0, "ok"),
        ("A and B are correct", "AB", 1.0, "ok"),
        ("DAB", "A, B, D", 1.0, "ok"),
        ("AB", "BA", 1.0, "ok"),
        ("ABC", "AB", 0.0, "ok"),
        ("AAB", "AB", 0.0, "parse_error"),
        ("bad", "B", 0.0, "parse_error"),
        ("cube", "(B) cube", 1.0, "ok"),  # the option's own text
        ("sphere", "(B) cube", 0.0, "parse_error"),
        ("A. cube", "(B) cube", 0.0, "ok"),
        ("B is wrong", "B", 0.0, "parse_error"),
        ("It isn't B", "B", 0.0, "parse_error"),
        ("The answer is A or B", "B", 0.0, "ambiguous"),
        ("B. cat\nA. dog\nC. bird", "B", 0.0, "ambiguous"),
        ("B? A? C?", "B", 0.0, "ambiguous"),
        ("B - A - C - D", "B", 0.0, "ambiguous"),
    ],
)
def test_sets_of_letters_denied_letters_and_hedges(answer: str, gold: str, reward: float, status: str):
    assert outcome(score, answer, gold) == (reward, status)


@pytest.mark.parametrize(
    "piece", ["A ", "A\n", "(", "A,", "*", "not ", "A、", "answer is", "<b", "I a", " ", "\n", "word", ", "]
)
@pytest.mark.parametrize("head", ["", "answer", "Not", "(", "A", "- A (", "<b", "A. b "])
def test_long_input_costs_little(head: str, piece: str):
    check_work_grows_with_length(lambda text: ask(score, text, "B"), head, piece, "~")
