import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, check_work_grows_with_length, outcome

from ovrl.records import Question
from ovrl.reward.html_code import score

# Tokens: < > = / " p id a hi (9); tags: p, /p.
GOLD = '<p id="a">hi</p>'


def test_layout_and_comments_do_not_count():
    assert ask(score, "<P  id='a'>hi</P><!-- done -->", GOLD).reward == 1.0


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        ('<p id="a">ho</p>', 0.6 * 8 / 10 + 0.4),  # one word of nine differs
        ('<b id="a">hi</b>', 0.6 * 8 / 10),  # so do both tags
        ("<i>hi", 0.6 * 3 / 10),
    ],
)
def test_tokens_and_tags(answer: str, reward: float):
    assert ask(score, answer, GOLD).reward == pytest.approx(reward, abs=1e-12)
    assert ask(score, answer, GOLD, mode="ov15").reward == pytest.approx(reward, abs=1e-12)


@pytest.mark.parametrize(
    ("completion", "strict", "ov15"),
    [
        ("Here: <html>" + GOLD + "</html> done", 1.0, 1.0),
        ("```html\n<html>" + GOLD + "</html>\n```", 1.0, 1.0),
        ("<html>x</html><html>" + GOLD, 1.0, 1.0),  # the last page, to the end of the text
        ("<think><html>" + GOLD + "</html></think>", 0.0, 1.0),
    ],
)
def test_without_a_tag_the_last_page_is_taken(completion: str, strict: float, ov15: float):
    question = Question(answer=("<html>" + GOLD + "</html>", "<html>" + GOLD))
    assert score(question, completion, "strict").reward == strict
    assert score(question, completion, "ov15").reward == ov15


PAGE = (
    '<!DOCTYPE html><html lang="en"><head><title>Shop</title><style>.nav { color: #333 }</style></head>'
    '<body><div class="nav"><a href="/cart">Cart</a></div><h1>Weekly offers</h1>'
    "<ul><li>Apples</li><li>Bread</li><li>Milk</li></ul><p>Open daily from 8 to 20.</p></body></html>"
)
SKELETON = re.sub(r">[^<>]+<", "><", PAGE).replace("nav", "").replace("/cart", "")
PIECES = re.findall(r"<[^>]*>|[^<>\s]+", PAGE)
SHUFFLED = " ".join(random.Random(7).sample(PIECES, len(PIECES)))
WORDS = sorted(set(re.findall(r"\w+", PAGE)))


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (SKELETON, "none of the words"),
        (" ".join(WORDS), "without any element"),
        ("<p>" + " ".join(WORDS) + "</p>", "disorder"),
        (SHUFFLED, "disorder"),
        (PAGE.replace("<body>", '<body style="display:none">'), "hides"),
        (PAGE.replace("<body>", "<body hidden>"), "hides"),
        (PAGE.replace(".nav { color: #333 }", "h1, ul, p { visibility: hidden }"), "hides"),
        (PAGE.replace("<body>", "<body><template>").replace("</body>", "</template></body>"), "hides"),
        (PAGE.replace("<body>", "<body><!--"), "hides"),
    ],
)
def test_what_shows_no_page_is_not_paid(page: str, reason: str):
    strict = ask(score, page, PAGE)
    assert strict.reward == 0.0
    assert strict.note is not None
    assert reason in strict.note
    assert ask(score, page, PAGE, mode="ov15").reward > 0.3


@pytest.mark.parametrize(
    "page",
    [
        PAGE[: len(PAGE) // 2],  # cut off
        re.sub(r">[^<>]+</(?!style)", "></", PAGE),  # nothing but tags, with the picture's classes and links
        PAGE.replace("Apples", "Pears").replace("Bread", "Cheese"),
        PAGE.replace("#333", "#ff0000").replace("nav", "menu"),
        PAGE.replace("ul>", "ol>").replace("div", "section"),
        PAGE.replace("<p>", "<p hidden>"),  # a little is hidden
    ],
)
def test_honest_pages_keep_the_formula(page: str):
    strict = ask(score, page, PAGE).reward
    assert strict == ask(score, page, PAGE, mode="ov15").reward
    assert strict is not None
    assert strict > 0.4


def test_of_several_golds_the_nearest_counts():
    assert ask(score, GOLD, PAGE, GOLD).reward == 1.0


def test_what_cannot_be_compared():
    assert outcome(score, "<!-- " + GOLD + " -->", GOLD) == (0.0, "no_answer")
    assert outcome(score, "x", "") == (None, "invalid_gold")
    assert score(Question(), "x", "ov15").status == "invalid_gold"


@given(st.text(st.sampled_from('<>/!-"= ab')), st.sampled_from(["strict", "ov15"]))
def test_never_raises_and_stays_in_range(text, mode):
    check_range(ask(score, text, GOLD, mode=mode))


@pytest.mark.parametrize(
    "piece", ["<html>", "<!--", "<", "```", "<p ", "<!doctype html>", "<p>", "{", "<style>", "<p a='", "scale(", "a "]
)
def test_long_input_costs_little(piece: str):
    check_work_grows_with_length(lambda text: score(Question(answer=(GOLD,)), text, "strict"), "", piece)
