import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, check_work_grows_with_length, outcome

from ovrl.records import Question
from ovrl.reward.box import score

GOLD = "[0, 0, 2, 2]"


@pytest.mark.parametrize(
    ("answer", "reward", "status"),
    [
        ("[0, 0, 2, 2]", 1.0, "ok"),
        ("(0,0,2,2)", 1.0, "ok"),
        ("The cup is at [[0., .0, 2e0, +2]].", 1.0, "ok"),
        ("[1, 0, 3, 2]", 2 / 6, "ok"),  # half of either is shared
        ("[1, 1, 3, 3]", 1 / 7, "ok"),
        ("[5, 5, 6, 6]", 0.0, "ok"),
        ("[1] [0.5, 0.5] [0, 0, 2, 2]", 1.0, "ok"),  # list number and point are no boxes
        ("[0,0,2,2] [9,9,10,10]", 1.0, "ok"),  # the first of two
        ("[0,0,2,2] [9,9,10,10] [1,1,2,2]", 0.0, "ambiguous"),  # a list of guesses
        ("[2, 2, 0, 0]", 0.0, "parse_error"),  # corners out of order
        ("[0, 0, 0, 0]", 0.0, "parse_error"),
        ("[1e999, 0, 1e999, 1]", 0.0, "parse_error"),
        ("[0, 0, 2]", 0.0, "parse_error"),
        ("[0, 0, 2, 2, 0.9]", 0.0, "parse_error"),
        ("", 0.0, "no_answer"),
    ],
)
def test_iou(answer: str, reward: float, status: str):
    got = ask(score, answer, GOLD)
    assert (got.reward, got.status) == (pytest.approx(reward, abs=1e-12), status)


@pytest.mark.parametrize("gold", ["[1, 1, 1, 1]", "[2, 0, 0, 2]"])
def test_a_gold_without_area_cannot_be_met(gold: str):
    assert outcome(score, f"{gold}", gold) == (0.0, "parse_error")
    assert outcome(score, "[0,0,2,2]", gold) == (0.0, "ok")


@pytest.mark.parametrize("gold", ["", "[0, 0]", "nothing"])
def test_a_gold_that_is_no_box_is_invalid(gold: str):
    assert outcome(score, "[0,0,2,2]", gold) == (None, "invalid_gold")


@pytest.mark.parametrize("size", ["5e-324", "1e-308", "1e308"])
def test_areas_beyond_floating_point_are_compared(size: str):
    box = f"[0, 0, {size}, {size}]"
    assert outcome(score, box, box) == (1.0, "ok")
    assert outcome(score, box, GOLD) == (0.0, "ok")


def test_best_gold_wins():
    assert ask(score, "[0,0,2,2]", "[1,1,3,3]", GOLD).reward == 1.0


def test_a_declared_scale_is_converted():
    scales = {"scale": "pixel", "width": 200, "height": 100, "completion_scale": "norm1000"}
    question = Question(answer=("[20, 10, 100, 50]",), meta={"bbox": scales})
    assert score(question, "<answer>[100, 100, 500, 500]</answer>", "strict").reward == pytest.approx(1.0)
    # Without another scale for completions numbers are compared as they stand.
    question = Question(answer=("[100, 100, 500, 500]",), meta={"bbox": {"scale": "norm1000"}})
    assert score(question, "<answer>[100, 100, 500, 500]</answer>", "strict").reward == 1.0
    question = Question(answer=(GOLD,), meta={"bbox": {"scale": "pixel", "completion_scale": "norm1"}})
    assert score(question, f"<answer>{GOLD}</answer>", "strict").status == "invalid_gold"


@pytest.mark.parametrize(
    ("answer", "gold", "reward", "status"),
    [
        ("[1] [0,0,2,2]", GOLD, 0.0, "ok"),  # reads the first bracket only
        ("(0,0,2,2)", GOLD, 0.0, "ok"),
        ("[0., 0, 2, 2]", GOLD, 0.0, "ok"),
        ("[2, 2, 0, 0]", GOLD, 0.0, "ok"),  # no order is asked for
        ("[1,1,1,1]", "[1,1,1,1]", 0.0, "parse_error"),  # divided by zero
        ("[1e999,0,1e999,1]", GOLD, 0.0, "parse_error"),  # NaN
        ("x", GOLD, 0.0, "ok"),
    ],
)
def test_ov15_checks_nothing_and_never_raises(answer: str, gold: str, reward: float, status: str):
    assert outcome(score, answer, gold, mode="ov15") == (reward, status)


@given(
    st.lists(st.floats() | st.integers(), max_size=6).map(str) | st.text(),
    st.sampled_from(["strict", "ov15"]),
)
def test_never_raises_and_stays_in_range(text, mode):
    got = ask(score, text, GOLD, mode=mode)
    if mode == "strict":
        check_range(got)


@pytest.mark.parametrize("piece", ["[", "[1,", "1,", "111,", "[ ", "1", "[1,2,3,4", "(1,2,3,4 "])
@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_long_input_costs_little(piece, mode):
    check_work_grows_with_length(lambda text: ask(score, text, GOLD, mode=mode), "[", piece)
