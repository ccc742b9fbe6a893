import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_cases import ask, check_range, outcome

from ovrl.reward.expression import score

# All of these were evaluated as Python by the original, or never came back.
ATTACKS = (
    "\\text{[42][0]}",
    "\\text{9**9**9}",
    "$9^{9^{9}}$",
    "9**9**9",
    "2^{99999999}",
    "\\text{().__class__}",
    "99999!",
)


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("2\\sqrt{3}", "\\sqrt{12}", 1.0),
        ("2\\sqrt{3}", "\\sqrt{13}", 0.0),
        ("$x^2+11x+28$", "(x+7)(x+4)", 1.0),
        ("y = 2x + 1", "y = 5x - 3", 0.0),  # the original saw two letters y
        ("k > 3", "k < 1", 0.0),
        ("$3 < x$", "x > 3", 1.0),
        ("\\frac{3}{4}x", "\\frac{3}{4}y", 0.0),
        ("2x+1", "2x+300", 0.0),
        ("3+7i", "3+6i", 0.0),
        ("(6, ∞)", "(6, \\infty)", 1.0),
        (
            "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\end{bmatrix}",
            "$\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}$",
            1.0,
        ),
        ("6*7", "42", 1.0),
        ("3.14", "\\pi", 0.0),
        ("$1 < x < 2$", "(1, 2)", 1.0),
    ],
)
def test_expressions(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold).reward == reward


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("x = 9", "x = 5", 1.0),  # reduced to their first lone letter
        ("x = 5", "5", 0.0),
        ("2.5", "2.504", 1.0),  # rounded to two decimals
        ("2\\sqrt{3}", "\\sqrt{12}", 0.0),  # no LaTeX without dollars
        ("$2\\sqrt{3}$", "$\\sqrt{12}$", 1.0),
        ("(B) 123", "12", 1.0),  # the last character is cut off
        ("(1.4, 7)", "(\\frac{7}{5}, 7)", 1.0),
        ("0.5", "0.25", 0.0),
    ],
)
def test_ov15_repeats_the_original(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold, mode="ov15").reward == reward


def test_what_cannot_be_compared():
    assert outcome(score, "", "5") == (0.0, "no_answer")
    assert outcome(score, "5", " ") == (None, "invalid_gold")
    assert outcome(score, "9" * 3000, "5") == (0.0, "parse_error")
    assert outcome(score, "4", "5", "4") == (1.0, "ok")


@pytest.mark.parametrize("answer", ATTACKS)
@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_text_is_never_executed_and_towers_are_refused(answer, mode):
    start = time.process_time()
    assert ask(score, answer, "42", mode=mode).reward == 0.0
    assert time.process_time() - start < 2.0


def test_arithmetic_in_text_counts_as_the_original_counted_it():
    assert ask(score, "\\text{6*7}", "42").reward == 0.0
    assert ask(score, "\\text{6*7}", "42", mode="ov15").reward == 1.0  # by our bounded evaluator


def test_works_outside_the_main_thread():
    rewards: list[float | None] = []
    thread = threading.Thread(target=lambda: rewards.append(ask(score, "$\\frac{1}{2}x$", "0.5x").reward))
    thread.start()
    thread.join()
    assert rewards == [1.0]


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.sampled_from("0123456789+-*/()=<>{}\\$.,xy sqrtfac"), max_size=24),
    st.sampled_from(["strict", "ov15"]),
)
def test_never_raises_and_stays_in_range(text, mode):
    check_range(ask(score, text, "\\frac{1}{2}", mode=mode))
