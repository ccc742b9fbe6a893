import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, check_work_grows_with_length, outcome

from ovrl.reward.boolean import score


@pytest.mark.parametrize(
    ("answer", "gold", "reward", "status"),
    [
        ("Yes.", "yes", 1.0, "ok"),
        ("**Yes**", "true", 1.0, "ok"),
        ("\\boxed{no}", "False", 1.0, "ok"),
        ("no", "No, it isn't", 1.0, "ok"),
        ("nope", "no", 1.0, "ok"),
        ("yes", "no", 0.0, "ok"),
        ("not true", "no", 1.0, "ok"),
        ("It is not false", "yes", 1.0, "ok"),
        ("untrue", "true", 0.0, "ok"),
        ("No, yes is wrong", "yes", 0.0, "ok"),  # what stands in front decides
        ("No, it is true that they touch", "no", 1.0, "ok"),
        ("yes and no", "yes", 0.0, "ambiguous"),
        ("True/False", "true", 0.0, "ambiguous"),
        ("it may be true or false", "true", 0.0, "ambiguous"),
        ("I don't know", "no", 0.0, "parse_error"),
        ("eyes", "yes", 0.0, "parse_error"),
        ("north", "no", 0.0, "parse_error"),
        ("", "no", 0.0, "no_answer"),
        ("yes", "maybe", None, "invalid_gold"),
    ],
)
def test_takes_a_side(answer: str, gold: str, reward: float | None, status: str):
    assert outcome(score, answer, gold) == (reward, status)


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("unknown", "no", 1.0),
        ("not true", "yes", 1.0),
        ("eyes", "true", 1.0),
        ("cat", "no", 0.0),
        ("", "no", 0.0),
        ("yes", "maybe", 0.0),
    ],
)
def test_ov15_finds_sides_inside_words(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold, mode="ov15").reward == reward


@given(
    st.text() | st.lists(st.sampled_from(["yes", "no", "not", "or", "true"])).map(" ".join),
    st.sampled_from(["strict", "ov15"]),
)
def test_never_raises_and_stays_in_range(text, mode):
    check_range(ask(score, text, "yes", "no", mode=mode))


YES = [
    "no doubt it is true",
    "No doubt, yes",
    "'No' is incorrect",
    "Is the cat on the left? Yes, it is.",
    "True or False: True",
    "The answer is yes",
    "Answer: yes",
    "\\text{Yes}",
    "Yes!",
    "yep",
    "not false",
    "yes (it is true)",
    "True, it isn't moving",
    "Yes, but not the second one",
    "true, not false",
    "The statement is true",
    "yes yes yes",
    "The answer isn't no",
    "yes?",
    "That is true, isn't it?",
    "Yes and it is true",
    "true; no false positives",
    "Not sure. Yes.",
]
NO = [
    "isn't true",
    "It isn't true.",
    "It isn’t true",
    "never true",
    "cannot be true",
    "It can't be true",
    "not at all true",
    "not a true statement",
    "un-true",
    "Yes is wrong",
    "No, it isn't true",
    "Is it true? No.",
    "Yes or no: no",
    "The answer is no, since it is true that they touch",
    "<answer>: no",
    "**No**, it is true that they overlap",
    "$\\boxed{\\text{false}}$",
    "No cat is visible",
    "There are no apples",
    "No — false",
    "It does not touch, so no",
    "false, not true",
    "untrue",
    "The claim is incorrect, so false",
    "No. Yes would be wrong.",
    "The answer is not yes",
    "No, not true",
    "It is unknown, no",
]
NEITHER = [
    "not exactly true",
    "not quite true",
    "not entirely false",
    "no idea",
    "I have no idea",
    "not sure",
    "I'm not sure, maybe yes",
    "No idea, sorry",
    "no clue",
    "There is no way to tell",
    "It is not the case that it is true",
    "I don't know if it's true",
    "I don't think it is true",
    "half true",
    "partly true",
    "True/False",
    "yes and no, it depends",
    "Yes, no",
    "neither true nor false",
    "hardly true",
    "maybe",
    "It's unclear whether it's true",
    "doesn't look true",
    "nothing",
]


@pytest.mark.parametrize("answer", YES)
def test_a_person_reads_yes(answer: str):
    assert outcome(score, answer, "yes") == (1.0, "ok")
    assert outcome(score, answer, "false") == (0.0, "ok")


@pytest.mark.parametrize("answer", NO)
def test_a_person_reads_no(answer: str):
    assert outcome(score, answer, "no") == (1.0, "ok")
    assert outcome(score, answer, "true") == (0.0, "ok")


@pytest.mark.parametrize("answer", NEITHER)
def test_a_person_reads_neither(answer: str):
    reward, status = outcome(score, answer, "yes", "no")
    assert reward == 0.0
    assert status in ("ambiguous", "parse_error")


@pytest.mark.parametrize(
    "piece", ["yes ", "no ", "not ", "not sure, ", "? ", "no idea ", "yes and ", "true is ", "true or ", "a", "'", "\n"]
)
def test_long_input_costs_little(piece: str):
    check_work_grows_with_length(lambda text: ask(score, text, "yes"), "not sure ", piece, "no")
