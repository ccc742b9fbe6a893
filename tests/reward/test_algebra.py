import pytest
from math_texts import answers

from ovrl.reward.refusal import RefusedError

pytest.importorskip("math_verify")

from string import ascii_letters

from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, parse, verify

from ovrl.reward import algebra
from ovrl.reward.algebra import PERCENT_NUMBER, same_latex, same_text

TARGETS = (StringExtractionConfig(strings=tuple(ascii_letters)), LatexExtractionConfig(), ExprExtractionConfig())


def by_library(gold: str, answer: str) -> bool:
    sides = [parse(text, TARGETS, parsing_timeout=None) for text in (gold, answer)]
    return verify(*sides, timeout_seconds=None)


def test_has_the_verdicts_of_the_library():
    wrong: list[tuple[str, str]] = []
    paid = 0
    for gold, answer in answers(4, 900):
        if any(PERCENT_NUMBER.search(text) and "$" in text for text in (gold, answer)):
            continue  # the original's version of the grammar
        want = by_library(gold, answer)
        paid += want
        if same_text(gold, answer) is not want:
            wrong.append((gold, answer))
    assert wrong == []
    assert paid > 300


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("$33.3\\%$", "33.3\\%", True),
        ("$25\\%$", "0.25", False),
        ("$20\\%$", "20%", True),
    ],
)
def test_percent_signs_in_latex_are_overread_as_the_originals_grammar_did(gold: str, answer: str, expected: bool):
    assert same_text(gold, answer) is expected


@pytest.mark.parametrize("text", ["0/0", "5/0", "1/(2-2)", "0**-1"])
def test_a_division_by_zero_equals_nothing_but_its_own_text(text: str):
    assert same_text(text, text)
    assert not same_text(text, "0")
    assert not same_text("0", text)


@pytest.mark.parametrize(
    "text",
    ["9**9**9", "9^9^9", "$9^{9^{9}}$", "$\\operatorname{eye}(20000)$", "$99999!$", "$\\int x dx$", "1" * 2001],
)
def test_what_has_no_bound_is_refused_and_says_which_side(text: str):
    with pytest.raises(RefusedError) as refused:
        same_text(text, "5")
    assert (refused.value.gold, refused.value.answer) == (True, False)
    with pytest.raises(RefusedError) as refused:
        same_text("5", text)
    assert (refused.value.gold, refused.value.answer) == (False, True)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("2\\sqrt{3}", "\\sqrt{12}", True),
        ("\\sin^2 x + \\cos^2 x", "1", True),
        ("\\sqrt{x^2+1}", "\\sqrt{x^2+2}", False),
        ("(1, 2)", "1<x<2", True),
        ("\\sqrt[3]{8}", "2", True),
        ("\\frac{1}{x}", "x^{-1}", True),
        ("x^{17}-3x=1", "x^{17}-4x=1", False),  # never solved
        ("x^2+y^2=25", "x^2+y^2=16", False),
        ("2x+2y=4", "x+y=2", True),
        ("\\tan x", "2\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^{T}", False),  # sympy cannot even ask
    ],
)
def test_expressions_by_algebra(gold: str, answer: str, expected: bool):
    assert same_latex(gold, answer) is expected


def test_plain_text_never_reaches_pythons_evaluator(monkeypatch: pytest.MonkeyPatch):
    import builtins

    import math_verify.parser

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(math_verify.parser, "parse_expr", refuse)
    algebra._read.cache_clear()
    evaluated: list[object] = []
    original = builtins.eval
    monkeypatch.setattr(builtins, "eval", lambda *given: evaluated.append(given[0]) or original(*given))
    assert same_text("1 + 2*3", "7")
    assert same_text("(7/5)*2", "$\\frac{14}{5}$")
    assert not same_text("1+1 (2)", "$\\sin x$")
    assert evaluated == []
