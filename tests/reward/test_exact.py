import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, outcome

from ovrl.records import Question
from ovrl.reward.exact import score, score_critic


@pytest.mark.parametrize(
    ("answer", "gold", "any_reward", "critic_reward"),
    [
        ("Left", " left ", 1.0, 0.0),
        ("left", "left", 1.0, 1.0),
        ("left.", "left", 0.0, 0.0),
        ("the  left", "the left", 0.0, 0.0),
        ("cafe\u0301", "caf\u00e9", 1.0, 1.0),
        ("\u017f", "s", 0.0, 0.0),  # lower case, not case folding
    ],
)
def test_text_equality(answer: str, gold: str, any_reward: float, critic_reward: float):
    assert ask(score, answer, gold).reward == any_reward
    assert ask(score_critic, answer, gold).reward == critic_reward


@pytest.mark.parametrize("rule", [score, score_critic])
def test_what_cannot_be_compared(rule):
    assert outcome(rule, " ", "x") == (0.0, "no_answer")
    assert outcome(rule, "x", "") == (None, "invalid_gold")
    assert outcome(rule, "b", "a", "b") == (1.0, "ok")
    assert rule(Question(answer=("x",)), "x", "strict").status == "no_answer"


def test_ov15_compares_accents_as_written_and_blanks():
    assert ask(score, "cafe\u0301", "caf\u00e9", mode="ov15").reward == 0.0
    assert ask(score, " ", "", mode="ov15").reward == 1.0
    assert ask(score, "", "", mode="ov15").reward == 0.0
    assert ask(score_critic, "", "", mode="ov15").reward == 1.0


@given(st.text(), st.text(), st.sampled_from([score, score_critic]), st.sampled_from(["strict", "ov15"]))
def test_never_raises_and_stays_in_range(text, gold, rule, mode):
    check_range(ask(rule, text, gold, mode=mode))
