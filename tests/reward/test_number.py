from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, check_work_grows_with_length, outcome

from ovrl.records import Question
from ovrl.reward.number import candidates, score


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7 apples.", [7]),
        ("3.0", [3]),
        ("3.", [3]),
        (".5", [Fraction(1, 2)]),
        ("-5", [-5]),
        ("−5", [-5]),
        ("1,234,567 people", [1234567]),
        ("1 234", [1234]),
        ("1,23", [1, 23]),  # not a thousands separator
        ("3.9e5", [390000]),
        ("5/2", [Fraction(5, 2)]),
        ("\\frac{4}{5}", [Fraction(4, 5)]),
        ("1/0", []),
        ("1.2.3", []),
        ("CO2", []),
        ("49 cm^3", [49]),
        ("49 cm^{3}", [49]),
        ("x_1 = 4", [4]),
        ("10^2", []),  # a power is not read, least of all as its base
        ("共24只", [24]),
        ("15~16", [15, 16]),
        ("19-20", [19, 20]),  # the hyphen is no sign
        ("3 and 3", [3]),
        ("12 + 23 = 35", [35]),
        ("(2) + (23) => 25", [25]),
        ("25 on the left and 20 on the right, total 45", [45]),
        ("1. lamp\n2. sheep\nTotal: 2", [2]),
        ("5 in total:\n1) cup\n2) cat", [5]),
        ("seven", [7]),
        ("Nine chairs", [9]),
        ("two (2)", [2]),  # digits go first
        ("five or six", [5, 6]),
        ("²", []),
        ("9" * 500, []),
        ("7 " * 5000, []),
    ],
)
def test_candidates(text: str, values: list[Fraction]):
    assert candidates(text) == values


@pytest.mark.parametrize(
    ("answer", "golds", "reward", "status"),
    [
        ("7 apples.", ("7",), 1.0, "ok"),
        ("7", ("8",), 0.0, "ok"),
        ("-7", ("7",), 0.0, "ok"),
        ("-5", ("-5",), 1.0, "ok"),
        ("3", ("3", "three"), 1.0, "ok"),
        ("many", ("3", "Many"), 1.0, "ok"),  # a gold that is no number is compared as text
        ("many", ("3",), 0.0, "parse_error"),
        ("three", ("3",), 1.0, "ok"),
        ("12 apples and 3 pears", ("3",), 0.0, "ambiguous"),
        ("0.1", ("0.10000000000000001",), 0.0, "ok"),  # exact, not floating point
        ("9007199254740993", ("9007199254740992",), 0.0, "ok"),
        ("", ("3",), 0.0, "no_answer"),
        ("3", (), None, "invalid_gold"),
        ("3", (" ",), None, "invalid_gold"),
    ],
)
def test_the_value_counts(answer: str, golds: tuple[str, ...], reward: float | None, status: str):
    assert outcome(score, answer, *golds) == (reward, status)


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [("7 apples.", "7", 0.0), ("-7", "7", 1.0), ("1,234", "234", 1.0), ("7.0", "7", 0.0), ("12 m2", "2", 1.0),
     ("none", "", 1.0), ("7", " 7 ", 1.0)],
)  # fmt: skip
def test_ov15_compares_the_last_run_of_digits_and_dots(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold, mode="ov15").reward == reward


def test_ov15_reads_no_tag_as_empty():
    assert score(Question(answer=("3",)), "3", "ov15").reward == 0.0
    assert score(Question(answer=("",)), "3", "ov15").reward == 1.0


@given(st.text(st.characters() | st.sampled_from("0123456789.,-/e")), st.sampled_from(["strict", "ov15"]))
def test_never_raises_and_stays_in_range(text, mode):
    check_range(ask(score, text, "3", mode=mode))


@given(st.integers(-(10**12), 10**12))
def test_reads_back_what_python_writes(value: int):
    assert candidates(f"{value}") == candidates(f"{value:,}") == candidates(f"about {value}.") == [value]


@pytest.mark.parametrize(
    "piece", ["1", "1,111,", "111 ", "1.", "1/", "\\frac{1}{", "1 total ", "1e", "-", "1^", "½", "1 or ", "not 1 "]
)
@pytest.mark.parametrize("head", ["", "\\frac{1}{"])
def test_long_input_costs_little(head: str, piece: str):
    check_work_grows_with_length(lambda text: ask(score, text, "3"), head, piece, "~")


@pytest.mark.parametrize(
    ("answer", "golds", "expected"),
    [
        ("1.2.3.4", ("1.2.3.4",), (None, "invalid_gold")),  # digits that are no number
        ("5", ("1.2.3", "5"), (1.0, "ok")),
        ("none", ("none",), (1.0, "ok")),
        ("...", ("...",), (1.0, "ok")),
        ("3 or 4", ("3 or 4",), (1.0, "ok")),
        ("007", ("7",), (1.0, "ok")),
        ("7" * 500, ("7",), (0.0, "parse_error")),
    ],
)
def test_golds_that_are_no_number(answer: str, golds: tuple[str, ...], expected: tuple[float | None, str]):
    assert outcome(score, answer, *golds) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("minus three", [-3]),
        ("- 3", [-3]),
        ("−3", [-3]),
        ("− 3", [-3]),
        ("–3", [-3]),
        ("x = - 3", [-3]),
        ("x = -3", [-3]),
        ("Answer: - 3", [-3]),
        ("- 3 apples", [3]),
        ("minus 3", [-3]),
        ("negative 12.5", [Fraction(-25, 2)]),
        ("负3", [-3]),
        ("5 - 3", [5, 3]),
        ("5 - 3 = 2", [2]),
        ("15–16", [15, 16]),
        ("2 million", [2000000]),
        ("2.5 million people", [2500000]),
        ("3 dozen eggs", [36]),
        ("5 hundred", [500]),
        ("2 and a half", [Fraction(5, 2)]),
        ("2 1/2", [Fraction(5, 2)]),
        ("2½", [Fraction(5, 2)]),
        ("½", [Fraction(1, 2)]),
        ("-2 1/2", [Fraction(-5, 2)]),
        ("2\\frac{1}{2}", [Fraction(5, 2)]),
        ("５个", [5]),
        ("１２", [12]),
        ("12,34,567", [1234567]),
        ("1,00,000", [100000]),
        ("not 3", []),
        ("It isn't 3", []),
        ("not 3 but 4", [4]),
        ("3 is wrong, 4", [4]),
        ("2 or three", [2, 3]),
        ("two or 3", [3, 2]),
        ("answer: 3 or 4", [3, 4]),
        ("total 45 or 46", [45, 46]),
        ("total 45 (25 left, 20 right)", [45]),
        ("the answer is 4, not 5", [4]),
        ("12+23=35 or 36", [12, 23, 35, 36]),
        ("seven (7)", [7]),
        ("about 30", [30]),
        ("3 cats and 2 dogs", [3, 2]),
        ("3 cats, so the answer is 3", [3]),
        ("5 km/h", [5]),
        ("$1,234.50", [Fraction(2469, 2)]),
        ("1 234 567", [1234567]),
        ("twenty-three (23) chairs", [23]),
        ("a dozen", [12]),
        ("two hundred and five", [205]),
        ("3/4", [Fraction(3, 4)]),
        ("3 1/0", [3]),
        ("-0", [0]),
        ("+7", [7]),
        ("=7", [7]),
        ("7.", [7]),
        ("7 apples in the 3rd row", [7, 3]),
        ("between 3 and 5", [3, 5]),
        ("3-ish", [3]),
        ("1.5e3", [1500]),
        ("answer is not 3 but 4", [4]),
        ("1/2 or 3/4", [Fraction(1, 2), Fraction(3, 4)]),
        ("10^6", []),
        ("3 − 1", [3, 1]),
        ("  -  4 ", [-4]),
        ("- 3\n- 4", [3, 4]),
        ("from 1 to 5", [1, 5]),
    ],
)
def test_a_person_reads_these_numbers(text: str, values: list[int | Fraction]):
    assert candidates(text) == values


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("2 million", "2", 0.0), ("answer: 3 or 4", "3", 0.0), ("3 or four", "3", 0.0), ("not 3", "3", 0.0),
        ("- 3", "-3", 1.0), ("- 3", "3", 0.0), ("minus three", "3", 0.0), ("a dozen", "12", 1.0),
        ("two and a half", "2.5", 1.0), ("5", "five", 1.0), ("-3", "minus three", 1.0), ("2000000", "two million", 1.0),
    ],
)  # fmt: skip
def test_no_part_of_a_number_is_paid(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold).reward == reward
