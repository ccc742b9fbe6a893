from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.latex import read
from ovrl.reward.mathvalue import Group, Matrix, Relation, Scalar, Span, Union


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("-12", Fraction(-12), "integer"),
        ("1,000", Fraction(1000), "integer"),
        ("0.50", Fraction(1, 2), "decimal"),
        ("\\frac{6}{2}", Fraction(3), "integer"),
        ("-3\\frac{1}{2}", Fraction(-7, 2), "rational"),
        ("6:8", Fraction(3, 4), "rational"),
        ("1.5 \\times 10^{3}", Fraction(1500), "composite"),
        ("-2^2", Fraction(-4), "composite"),
        ("2--5", Fraction(7), "composite"),
        ("5!", Fraction(120), "composite"),
        ("25\\%", Fraction(1, 4), "percent"),
        ("\\sqrt{16}", Fraction(4), "composite"),
        ("2^10", Fraction(1024), "composite"),
        ("\\sqrt[3]{8}", Fraction(2), "composite"),
        ("2 3", Fraction(5), "integer"),  # the grammar sees a mixed number
        ("7 2/4", Fraction(9, 4), "rational"),
    ],
)
def test_numbers(text: str, value: Fraction, kind: str):
    found = read(text)
    assert isinstance(found, Scalar)
    assert (found.value.rational, found.kind) == (value, kind)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("(x+3)(x+5)", "x^{2}+8x+15"),
        ("2(x+1)", "2x+2"),
        ("\\frac{x}{2}", "\\frac{1}{2}x"),
        ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}"),
        ("2\\pi r", "r \\cdot 2 \\cdot π"),
        ("X", "x"),
        ("xy", "y x"),
        ("2e", "e+e"),
    ],
)
def test_two_ways_to_write_a_value(text: str, same: str):
    left, right = read(text), read(same)
    assert isinstance(left, Scalar)
    assert isinstance(right, Scalar)
    assert left.value == right.value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("(1, 2)", Span),
        ("(2, 1)", Group),
        ("[3, \\infty)", Span),
        ("(1,2,3)", Group),
        ("\\{1, 2\\}", Group),
        ("1, 2", Group),
        ("x \\le 3", Relation),
        ("1<x<2", Relation),
        ("P=(3, 4)", Relation),
        ("(1,2)\\cup(3,4)", Union),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", Matrix),
    ],
)
def test_kinds(text: str, kind: type):
    assert isinstance(read(text), kind)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x(2)",
            "sin",
            "tr",
            "ex",
            "e^2",
            "3E5",
            "i",
            "7+3 i",
            "dx",
            "1 000",
            "2^3^2",
            "x^T",
            "x'",
            "a'",
        ),
        *("\\sin x", "\\sqrt{x}", "\\sqrt[3]{9}", "1/0", "\\frac{1}{x}", "\\frac12", "[5]", "{5}", "(1", "1)", "0,382"),
        *(
            "(3\\%, 4)",
            "3!!",
            "21!",
            "9^{9^{9}}",
            "9^{99}",
            "5.",
            "\\text{9**9}",
            "\\text{pi}",
            "\\foo",
            "(3,3)",
            "x==",
        ),
        "\\begin{pmatrix}1&2\\\\3\\end{pmatrix}",
    ],
)
def test_what_is_left_to_the_full_grammar(text: str):
    assert read(text) is None


def test_deep_and_long_texts_are_left_at_once():
    assert read("(" * 13 + "1" + ")" * 13) is None
    assert read("(" * 190 + "1" + ")" * 190) is None
    assert read("-" * 399 + "1") is None
    assert read("1+" * 250 + "1") is None
    assert read("9" * 31) is None


@given(st.text(st.sampled_from("0123456789.,;:xyi+-*/^(){}[]<>=!%&\\ abcdefrqst"), max_size=30))
def test_never_raises(text: str):
    read(text)
