import pytest
from math_texts import formulas

from ovrl.reward.latex import read
from ovrl.reward.settle import settled


def verdict(gold: str, answer: str, *, relations: bool = False) -> bool | None:
    left, right = read(gold), read(answer)
    assert left is not None
    assert right is not None
    return settled(left, right, relations=relations)


def test_sets_and_inequalities_stand_for_one_another_when_asked():
    assert verdict("(3, \\infty)", "x>3") is False
    assert verdict("(3, \\infty)", "x>3", relations=True) is True
    assert verdict("(3, \\infty)", "x>4", relations=True) is False


def test_equations_that_no_point_solves_both_differ():
    assert verdict("x^2+y^2=25", "x^2+y^2=16") is None
    assert verdict("x^2+y^2=25", "x^2+y^2=16", relations=True) is False
    assert verdict("2x+2y=4", "x+y=2", relations=True) is None


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("x=28", "28", True),
        ("2a=10", "10", False),
        ("10", "2a=10", True),  # not symmetric: the gold says whether an equation is wanted
        ("9\\%", "9", True),
        ("50\\%", "0.5", True),
        ("0.1 \\times 3", "\\frac{3}{10}", None),  # a float's last digit
        ("\\frac{1}{3}", "0.33", False),
        ("\\frac{1}{3}", "0.333333", True),
        ("\\frac{1}{3}", "0.333332", False),
        ("0.123456", "0.123457", False),
        ("\\sqrt{2}", "\\frac{665857}{470832}", None),  # twelve decimals in common
        ("0.1234565", "0.123457", None),  # a tie in the seventh place
        ("x>3", "(3, \\infty)", True),
        ("-1<x \\le 2", "(-1, 2]", True),
        ("-1<x<2", "(-1, 2]", False),
        ("(1,2)", "1,2", True),
        ("(1,2]", "1,2", False),
        ("\\{1,2\\}", "2,1", True),
        ("(2,1)", "1,2", False),
        ("x>3", "3<x", True),
        ("x>3", "x>4", False),
        ("y=2x+1", "y=2x+2", None),  # equations may be solved
        ("x", "2x", False),
        ("x y", "\\text{xy}", None),  # a product of letters may equal a word
        ("(1,2)\\cup(3,4)", "(1,2)\\cup(3,4)", True),
        ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1&3\\end{pmatrix}", False),
    ],
)
def test_verdicts(gold: str, answer: str, expected: bool | None):
    assert verdict(gold, answer) is expected


def test_agrees_with_the_library_wherever_it_has_a_verdict():
    math_verify = pytest.importorskip("math_verify")
    targets = (math_verify.LatexExtractionConfig(),)
    normalise = pytest.importorskip("latex2sympy2_extended.math_normalization").normalize_latex
    steps = targets[0].normalization_config

    def parsed(text: str):
        found = math_verify.parse(f"${text}$", targets, parsing_timeout=None)
        return [value for value in found if not isinstance(value, str)]

    wrong: list[tuple[str, str, bool | None, bool]] = []
    decided = paid = 0
    for seed, (gold, answer) in enumerate(formulas(20, 900)):
        left, right = read(normalise(gold, steps)), read(normalise(answer, steps))
        if left is None or right is None:
            continue
        relations = seed % 2 == 1
        got = settled(left, right, relations=relations)
        if got is None:
            continue
        want = math_verify.verify(parsed(gold), parsed(answer), allow_set_relation_comp=relations, timeout_seconds=None)
        decided += 1
        paid += want
        if got is not want:
            wrong.append((gold, answer, got, want))
    assert wrong == []
    assert decided > 500
    assert paid > 200
