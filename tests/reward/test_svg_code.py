import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_cases import ask, check_range, outcome

from ovrl.records import Question
from ovrl.reward.svg_code import score

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64">'
GOLD = HEAD + '<rect width="40" height="30" fill="#00f"/><circle r="9" fill="#f00"/></svg>'


def test_equal_but_for_layout_is_full():
    assert ask(score, GOLD.replace('"', "'").replace(" ", "\n  ").upper(), GOLD).reward == 1.0


def test_the_same_picture_in_other_words_keeps_the_image_half():
    other = GOLD.replace("#00f", "#0000ff").replace("#f00", "red")
    # The pictures are equal, the tags too; of 26 tokens 22 are shared, not the four colors.
    assert ask(score, other, GOLD).reward == pytest.approx(0.5 + 0.25 + 0.25 * 22 / 26, abs=1e-9)


def test_a_white_picture_earns_less_than_the_drawing():
    blank = ask(score, HEAD + "</svg>", GOLD).reward
    assert blank is not None
    assert 0.0 < blank < 0.8


@pytest.mark.parametrize("hole", ['<image href="file:///etc/passwd" width="9" height="9"/>', "<rect", "&bomb;"])
def test_what_does_not_render_has_no_image_part(hole: str):
    got = ask(score, GOLD.replace("<rect", hole + "<rect", 1), GOLD).reward
    assert got is not None
    assert got <= 0.5


def test_a_drawing_that_was_cut_off_is_closed():
    cut = GOLD[: GOLD.index("<circle") + 5]
    strict, ov15 = ask(score, cut, GOLD).reward, ask(score, cut, GOLD, mode="ov15").reward
    assert strict is not None
    assert ov15 is not None
    assert strict > 0.7
    assert ov15 < 0.5  # the self-closed rectangle was "closed" again, which broke the drawing


def test_a_long_drawing_is_compared_as_text():
    long = GOLD.replace("</svg>", " " * 50_000 + "<g/></svg>")
    got = ask(score, long, GOLD).reward
    assert got is not None
    assert got <= 0.5


def test_where_the_drawing_is_looked_for():
    question = Question(answer=(GOLD,))
    assert score(question, f"```svg\n{GOLD}\n```", "strict").reward == 1.0
    assert score(question, f"<answer>see above</answer> {GOLD}", "strict").reward == 1.0
    assert score(question, f"<think>{GOLD}</think>", "strict").reward == 0.0
    assert score(question, f"<think>{GOLD}</think>", "ov15").reward == 1.0


def test_what_cannot_be_compared():
    assert outcome(score, "a red cat", GOLD) == (0.0, "parse_error")
    assert outcome(score, GOLD, "") == (None, "invalid_gold")


@settings(max_examples=15, deadline=None)
@given(st.text(st.sampled_from('<>/"= svgrectx0')), st.sampled_from(["strict", "ov15"]))
def test_never_raises_and_stays_in_range(text, mode):
    check_range(ask(score, HEAD + text, GOLD, mode=mode))


@pytest.mark.parametrize("piece", ["<svg", "<svg>", "<a", "<a>", "<!--", "```"])
def test_long_input_costs_little(piece: str):
    start = time.process_time()
    ask(score, "<svg" + piece * (200_000 // len(piece)), GOLD)
    assert time.process_time() - start < 2.0
