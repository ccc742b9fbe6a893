import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.spatial import bonus


@pytest.mark.parametrize(
    ("text", "strict", "ov15"),
    [
        ("<think>at [0.1, 0.2, 0.3, 0.4]</think>", 1.0, 1.0),
        ("<THINK>[[ 1 ,2 ,3,4 ]]</think>", 1.0, 1.0),
        ("<think>[0.3, 0.4, 0.1, 0.2]</think>", 1.0, 1.0),  # any two opposite corners
        ("<think>[0.3, 0.2, 0.1, 0.4]</think>", 1.0, 1.0),
        ("<think>[5, 4, 3, 2]</think>", 0.0, 1.0),  # a countdown
        ("<think>[1999, 2000, 2001, 2002]</think>", 0.0, 1.0),  # years: 2 of 2002 is less than a pixel of 512
        ("<think>[1990, 2000, 2001, 2012]</think>", 1.0, 1.0),
        ("<think>[0.2, 0.5, 0.2, 0.9]</think>", 0.0, 1.0),  # no area
        (f"<think>[1, 2, {'9' * 400}, {'9' * 400}]</think>", 0.0, 1.0),  # beyond any float
        ("<think>[0, 0, 0, 0]</think>", 0.0, 1.0),
        ("<think>[0,0,0,0] and [0,0,1,1]</think>", 1.0, 1.0),
        ("<think>[1, 2, 3, 4, 5]</think>", 0.0, 0.0),
        ("<think>[.1, .2, .3, .4]</think>", 0.0, 0.0),
        ("<think>[+1, 2, 3, 4]</think>", 0.0, 0.0),
        ("<think>[1e-1, 2, 3, 4]</think>", 0.0, 0.0),
        ("<think>(1, 2, 3, 4)</think>", 0.0, 0.0),
        ("<think>a</think>[1,2,3,4]<think>b</think>", 0.0, 0.0),
        ("<think>[1,2,3,4]", 0.0, 0.0),
        ("[1,2,3,4]</think>", 0.0, 0.0),
    ],
)
def test_a_box_in_the_thought_earns_the_bonus(text: str, strict: float, ov15: float):
    assert bonus(text, "strict") == strict
    assert bonus(text, "ov15") == ov15


@given(st.text())
def test_is_zero_or_one(text: str):
    assert bonus(f"<think>{text}</think>", "strict") in (0.0, 1.0)
