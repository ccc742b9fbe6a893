import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrl.records import ANSWER_TYPES, Question, Score
from ovrl.reward.judge import Judge, Verdict, judge, load_rule
from ovrl.reward.outcome import MAX_CHARS
from ovrl.reward.table import REWARDS

BOX = "<think>[0, 0, 1, 1]</think>"


def test_every_answer_type_has_a_rule():
    assert set(REWARDS) == set(ANSWER_TYPES)


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


def test_three_different_answers_are_guesses():
    question = Question(answer=("c",))
    guesses = "<answer>a</answer><answer>b</answer><answer>c</answer>"
    assert judge(question, guesses).score.status == "ambiguous"
    assert judge(question, guesses, mode="ov15").score.reward == 1.0
    assert judge(question, "<answer>a</answer> no <answer>c</answer> yes <answer>c</answer>").score.reward == 1.0


def test_too_long_is_not_read():
    score = judge(Question(answer=("a",)), "<answer>a</answer>" + " " * MAX_CHARS).score
    assert (score.reward, score.status, score.note) == (
        0.0,
        "parse_error",
        "longer than 200,000 characters, and not read",
    )


def test_a_rule_that_shares_its_time_out_is_told_the_limit(monkeypatch: pytest.MonkeyPatch):
    told: list[float] = []

    def rule(question: Question, completion: str, mode: str, *, limit_s: float = 10.0) -> Score:
        told.append(limit_s)
        return Score(reward=1.0)

    load_rule.cache_clear()
    monkeypatch.setattr("ovrl.reward.exact.score", rule)
    judge(Question(), "x")
    Judge(limit_s=2.5)(Question(), "x", {})
    load_rule.cache_clear()
    assert told == [10.0, 2.5]


def ask(plugin: Any = None, completion: str = "<answer>a</answer>", **more: Any) -> Verdict:
    question = Question(answer=("a",), problem_type="spatial-reasoning")
    return Judge(reward=plugin, **more)(question, completion, {"id": "s1", "level": 3})


def broken(record: dict[str, Any]) -> float:
    raise RuntimeError("bug")


def test_a_plug_in_sees_all_fields_and_replaces_the_rule():
    seen: list[dict[str, Any]] = []
    assert ask(lambda record: seen.append(record) or 0.25).score.reward == 0.25
    assert seen == [{"id": "s1", "level": 3, "completion": "<answer>a</answer>", "answer": ["a"]}]
    given = Score(reward=0.5, components={"accuracy": 0.25, "tidy": 0.25})
    assert ask(lambda record: given).score == given


def test_a_plug_in_that_raises_or_returns_no_number_is_an_error():
    verdict = ask(broken)
    assert (verdict.score.reward, verdict.score.status, verdict.score.note) == (None, "error", "RuntimeError: bug")
    assert verdict.scorer.endswith(":broken")
    odd: Any = object()
    shapeless = [Score(reward=1.0, extracted=odd), Score(reward=1.0, note=odd), Score(reward=1.0, status=odd)]
    for value in (math.nan, math.inf, "much", None, Score(reward=math.nan), *shapeless):
        assert ask(lambda record, value=value: value).score.status == "error"


def test_the_rule_of_one_answer_type_for_all_records():
    question = Question(answer=("3",), answer_type="any")
    assert Judge(answer_type="number")(question, "<answer>3.0</answer>", {}).score.reward == 1.0
    assert Judge()(question, "<answer>3.0</answer>", {}).score.reward == 0.0


THOUGHT = "<think>" + "it stands to reason " * 5 + "[0, 0, 1, 1]</think>"


@pytest.mark.parametrize(
    ("completion", "settings", "reward", "components"),
    [
        (THOUGHT + "<answer>a</answer>", {}, 1.5, {"accuracy": 1.0, "box": 1.0}),
        (THOUGHT + "<answer>a</answer>", {"weights": {"accuracy": 2.0}}, 2.0, {"accuracy": 1.0, "box": 1.0}),
        (THOUGHT + "<answer>a</answer>", {"weights": {"accuracy": 1.0, "box": 0.5, "format": 0.25}}, 1.75,
         {"accuracy": 1.0, "box": 1.0, "format": 1.0}),
        ("<answer>a</answer>", {"weights": {"accuracy": 1.0, "format": 0.25}}, 1.0,
         {"accuracy": 1.0, "box": 0.0, "format": 0.0}),
        ("<answer>a</answer>", {"gate": "format"}, 0.0, {"accuracy": 1.0, "box": 0.0, "format": 0.0}),
        (THOUGHT + "<answer>a</answer>", {"gate": "format"}, 1.5, {"accuracy": 1.0, "box": 1.0, "format": 1.0}),
        ("<answer>a</answer>", {"components": {"level": lambda record: record["level"]},
                                "weights": {"accuracy": 1.0, "level": 0.1}}, 1.3,
         {"accuracy": 1.0, "box": 0.0, "level": 3.0}),
    ],
)  # fmt: skip
def test_weights_and_gates(completion: str, settings: dict[str, Any], reward: float, components: dict[str, float]):
    score = ask(completion=completion, **settings).score
    assert score.reward == pytest.approx(reward)
    assert score.components == components


def test_a_component_that_fails_is_an_error_and_names_itself():
    score = ask(components={"tidy": broken}, weights={"accuracy": 1.0}).score
    assert (score.reward, score.status, score.note) == (None, "error", "tidy: RuntimeError: bug")


def test_what_the_rule_could_not_judge_is_not_weighed():
    score = Judge(weights={"accuracy": 1.0, "format": 1.0})(Question(), THOUGHT, {}).score
    assert (score.reward, score.status) == (None, "invalid_gold")


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
