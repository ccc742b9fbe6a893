import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrl.records import ANSWER_TYPES, Question, Score
from ovrl.reward.judge import MAX_CHARS, judge
from ovrl.reward.table import REWARDS, UNSUPPORTED

BOX = "<think>[0, 0, 1, 1]</think>"


def test_every_answer_type_has_a_rule_or_is_unsupported():
    assert set(REWARDS) | UNSUPPORTED == set(ANSWER_TYPES)


@pytest.mark.parametrize(
    ("answer_type", "gold", "scorer"),
    [
        ("number", "3", "number"), ("boolean", "yes", "boolean"), ("multiple-choice", "B", "choice"),
        ("math-expressions", "3", "expression"), ("bbox", "[0, 0, 1, 1]", "box"), ("ocrtext", "abc", "text"),
        ("html-code", "<p>", "html_code"), ("svg-code", "<svg></svg>", "svg_code"), ("any", "a", "exact"),
        ("critic", "a", "exact"), ("Number", "3", "exact"), ("", "3", "exact"),
    ],
)  # fmt: skip
def test_finds_the_rule_by_answer_type(answer_type: str, gold: str, scorer: str):
    verdict = judge(Question(answer=(gold,), answer_type=answer_type), f"<answer>{gold}</answer>")
    assert verdict.scorer == scorer
    assert verdict.score.reward == 1.0


@pytest.mark.parametrize(
    ("completion", "strict", "ov15"),
    [
        (BOX + "<answer>left</answer>", 1.5, 1.5),
        (BOX + "<answer>right</answer>", 0.5, 0.5),
        ("<answer>left</answer>", 1.0, 1.0),
        ("<think>[1, 1, 1, 1]</think><answer>left</answer>", 1.0, 1.5),
        (BOX, 0.5, 0.5),
    ],
)
def test_spatial_reward_is_accuracy_and_half_a_box(completion: str, strict: float, ov15: float):
    question = Question(answer=("left",), problem_type="spatial-reasoning")
    for mode, reward in (("strict", strict), ("ov15", ov15)):
        score = judge(question, completion, mode=mode).score
        assert score.reward == reward
        assert score.components["accuracy"] + 0.5 * score.components["box"] == reward


@pytest.mark.parametrize("problem_type", ["stem", "Spatial-Reasoning", "spatial_reasoning"])
def test_no_other_problem_pays_boxes(problem_type: str):
    score = judge(Question(answer=("left",), problem_type=problem_type), BOX + "<answer>left</answer>").score
    assert score.reward == 1.0
    assert set(score.components) == {"accuracy"}


def test_unscored_stays_null_even_with_a_box():
    score = judge(Question(problem_type="spatial-reasoning"), BOX + "<answer>left</answer>").score
    assert (score.reward, score.status, dict(score.components)) == (None, "invalid_gold", {})


def test_programs_are_not_run_here():
    verdict = judge(Question(answer=("{}",), answer_type="general-code"), "<answer>x</answer>")
    assert (verdict.score.reward, verdict.score.status, verdict.scorer) == (
        None,
        "unsupported",
        "general-code",
    )
    assert dict(verdict.score.components) == {}


def test_three_different_answers_are_guesses():
    question = Question(answer=("c",))
    guesses = "<answer>a</answer><answer>b</answer><answer>c</answer>"
    assert judge(question, guesses).score.status == "ambiguous"
    assert judge(question, guesses, mode="ov15").score.reward == 1.0
    assert judge(question, "<answer>a</answer> no <answer>c</answer> yes <answer>c</answer>").score.reward == 1.0


def test_too_long_is_not_read():
    score = judge(Question(answer=("a",)), "<answer>a</answer>" + " " * MAX_CHARS).score
    assert (score.reward, score.status) == (0.0, "parse_error")


def broken(question: Question, completion: str, mode: str) -> Score:
    raise RuntimeError("bug")


def test_a_rule_that_raises_or_returns_nan_is_an_error():
    verdict = judge(Question(), "x", rule=broken)
    assert (verdict.score.reward, verdict.score.status) == (None, "error")
    assert verdict.scorer.endswith(":broken")
    assert judge(Question(), "x", rule=lambda *_: Score(reward=float("nan"))).score.status == "error"
    assert judge(Question(), "x", rule=lambda *_: 1.0).score.status == "error"  # pyright: ignore


def test_a_rule_of_the_caller_replaces_the_table():
    verdict = judge(Question(answer_type="number"), "x", rule=lambda *_: Score(reward=0.25))
    assert verdict.score.reward == 0.25


def test_rules_are_loaded_when_used():
    source = Path(__file__).parents[2] / "src"
    code = (
        "import sys; from ovrl.records import Question; from ovrl.reward.judge import judge;"
        "judge(Question(answer=('3',), answer_type='number'), '<answer>3</answer>');"
        "print({'sympy', 'skimage', 'cairosvg', 'torch'} & set(sys.modules))"
    )
    got = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(source)},
    )
    assert got.stdout.strip() == "set()"


@settings(deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "[1,2,3,4]", "3"])).map("".join),
    st.sampled_from(sorted(set(REWARDS) - {"svg-code", "math-expressions"})),
    st.sampled_from(["strict", "ov15"]),
)
def test_reward_stays_in_range_for_any_text(text, answer_type, mode):
    question = Question(answer=("3",), answer_type=answer_type, problem_type="spatial-reasoning")
    score = judge(question, text, mode=mode).score
    assert score.reward is None or 0.0 <= score.reward <= 1.5
    assert score.status != "error"
