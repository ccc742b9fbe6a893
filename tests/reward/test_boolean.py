import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, outcome

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
