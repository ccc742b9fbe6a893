import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_cases import ask, check_range, check_work_grows_with_length, outcome

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


SHAPES = GOLD.removeprefix(HEAD).removesuffix("</svg>")


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "<rect/><circle/>",  # the gold's tags
        f"<!-- {SHAPES} -->",
        f"<defs>{SHAPES}</defs>",
        f'<g opacity="0">{SHAPES}</g>',
        f'<g transform="translate(999)">{SHAPES}</g>',
        SHAPES.replace("#00f", "#fff").replace("#f00", "#fefefe"),  # white on white
        '<rect width="64" height="64" fill="#222"/>',  # one plain color
        '<rect width="1" height="1" fill="#222"/>',  # a dot in the corner
    ],
)
def test_an_empty_sheet_is_not_paid(inside: str):
    drawing = HEAD + inside + "</svg>"
    assert ask(score, drawing, GOLD).reward == 0.0
    original = ask(score, drawing, GOLD, mode="ov15").reward
    assert original is not None
    assert original > 0.3


def test_an_empty_sheet_is_right_where_the_gold_is_one():
    gold = HEAD + '<rect width="64" height="64" fill="#222"/></svg>'
    assert ask(score, gold.replace("#222", "#222222"), gold).reward == pytest.approx(0.5 + 0.25 + 0.25 * 17 / 19)


def test_a_small_or_faint_drawing_keeps_its_figure():
    small = GOLD.replace('height="64"', 'height="64" viewBox="0 0 256 256"')
    faint = GOLD.replace("#00f", "#ccccff").replace("#f00", "#ffcccc")
    for drawing in (small, faint):
        assert ask(score, drawing, GOLD).reward == ask(score, drawing, GOLD, mode="ov15").reward


def test_comments_are_no_tokens_in_strict():
    honest = GOLD.replace("#00f", "blue")
    padded = honest.replace("</svg>", "<!-- #00f --></svg>")
    assert ask(score, padded, GOLD).reward == ask(score, honest, GOLD).reward
    assert ask(score, padded, GOLD, mode="ov15") != ask(score, honest, GOLD, mode="ov15")


def test_of_several_golds_the_nearest_counts():
    other = HEAD + '<path d="M1 1h3v60z"/></svg>'
    assert ask(score, GOLD, other, GOLD).reward == 1.0


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
    check_work_grows_with_length(lambda text: ask(score, text, GOLD), "<svg", piece)
