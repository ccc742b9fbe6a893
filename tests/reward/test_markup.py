import re

import pytest

from ovrl.reward.markup import last_fence, name_jaccard, same_markup, token_jaccard, without_comments


def test_comments_go_and_broken_ones_stay():
    assert without_comments("a<!-- b -->c<!---->d<!-- e") == "acd<!-- e"


def test_layout_quotes_comments_and_case_do_not_count():
    assert same_markup('<P  id="a">\n<!-- x --></P>', "<p id='a'> </p>")
    assert not same_markup("<p>a</p>", "<p>b</p>")


def test_jaccard_of_sets():
    word = re.compile(r"\w+")
    assert token_jaccard("a b B", "b c", word) == pytest.approx(1 / 3)
    assert token_jaccard("", "b c", word) == 0.0
    assert name_jaccard("a b", "A B", word) == 1.0


def test_last_fence():
    fence = re.compile(r"```(?:html)?")
    assert last_fence("```html a``` ```b``` ```c", fence) == "b"
    assert last_fence("none", fence) is None
