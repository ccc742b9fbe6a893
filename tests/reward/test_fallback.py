import pytest
from math_texts import answers

from ovrl.reward import fallback
from ovrl.reward.arithmetic import evaluate
from ovrl.reward.fallback import is_plain_number, same_rounded


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("Triangle ", "triangle", True),
        (" ", " ", False),
        ("2.5", "2.504", True),
        ("2.5", "2.506", False),
        ("2.675", "2.68", False),  # 2.675 is a little less as a float
        ("6.06+1.675", "7.73", True),  # 7.734999999999999 as floats are added
        ("6.06+1.675", "7.74", False),
        ("0.001", "0.004", True),
        ("0.33", "\\frac{1}{3}", True),
        ("6:8", "3:4", True),
        ("(1.4, 7)", "(\\frac{7}{5}, 7)", True),
        ("(1.4, \\infty)", "(\\frac{7}{5}, \\infty)", True),
        ("(1, x)", "(1.0, x)", False),
        ("\\text{6*7}", "42", True),
        ("3 > 2", "9 > 1", True),
        ("5!", "120", False),  # printed by its name
        ("\\sqrt{4}", "2", False),
        ("50\\%", "1/2", False),
        ("9^{9^{9}}", "1", False),
        ("\\text{().__class__}", "1", False),
        ("x", "y", False),
    ],
)
def test_the_second_look(answer: str, gold: str, expected: bool):
    assert same_rounded(answer, gold) is expected


def test_plain_numbers():
    assert is_plain_number(" -12.5\n")
    assert not is_plain_number("12.1234567")
    assert not is_plain_number("12 cm")
    assert not is_plain_number("１２")


def test_agrees_with_reading_by_the_library_and_evaluating_its_print():
    latex2sympy = pytest.importorskip("latex2sympy2_extended").latex2sympy

    def rounded(text: str) -> float | None:
        try:
            value = evaluate(str(latex2sympy(text)))
        except Exception:  # noqa: BLE001 - the parser raises a plain Exception on what is no LaTeX
            return None
        return None if value is None else round(value, 2)

    texts = {text.lower() for pair in answers(3, 500) for text in pair}
    # A percent sign is read as another version of the grammar has it.
    texts = {text for text in texts if "%" not in text and "percent" not in text}
    wrong = {text: (fallback._rounded(text), rounded(text)) for text in texts}
    assert {text: pair for text, pair in wrong.items() if pair[0] != pair[1]} == {}
    assert sum(pair[0] is not None for pair in wrong.values()) > 100
