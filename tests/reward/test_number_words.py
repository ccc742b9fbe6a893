from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.number_words import read


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("zero", [0]), ("Seven.", [7]), ("twenty-one chairs", [21]), ("twenty one", [21]), ("forty", [40]),
        ("one hundred and five", [105]), ("nine hundred ninety-nine", [999]), ("two hundred", [200]),
        ("three thousand two hundred and one", [3201]), ("twelve thousand", [12000]), ("one thousand and one", [1001]),
        ("two three", [2, 3]), ("five and six", [5, 6]), ("twenty and one", [20, 1]), ("ten five", [10, 5]),
        ("two, three", [2, 3]), ("seventeen one", [17, 1]), ("the one on the left", []), ("only one", [1]),
        ("none", []), ("someone", []), ("often", []), ("hundred", [100]), ("a hundred", [100]),
        ("two hundred hundred", [200]),
        ("sixty-ten", [60, 10]), ("thirty zero", [30, 0]), ("", []),
    ],
)  # fmt: skip
def test_reads_what_is_spelled_out(text: str, numbers: list[int]):
    assert read(text) == numbers


ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def spell(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        return f"{ONES[number // 100]} hundred" + (f" and {spell(number % 100)}" if number % 100 else "")
    return f"{spell(number // 1000)} thousand" + (f" {spell(number % 1000)}" if number % 1000 else "")


@given(st.integers(0, 999_999))
def test_every_number_below_a_million(number: int):
    assert read(spell(number)) == [number]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('minus three', [-3]),
        ('negative twenty-one', [-21]),
        ('two million', [2000000]),
        ('two and a half', [Fraction(5, 2)]),
        ('two dozen', [24]),
        ('a hundred', [100]),
        ('a dozen eggs', [12]),
        ('half a dozen', [6]),
        ('one thousand and one', [1001]),
        ('three million two hundred thousand and five', [3200005]),
        ('twelve hundred', [1200]),
        ('two point five', [Fraction(5, 2)]),
        ('three point one four', [Fraction(157, 50)]),
        ('zero point five', [Fraction(1, 2)]),
        ('one half', [Fraction(1, 2)]),
        ('half', [Fraction(1, 2)]),
        ('two thirds', [Fraction(2, 3)]),
        ('three quarters', [Fraction(3, 4)]),
        ('two and three quarters', [Fraction(11, 4)]),
        ('two and a half million', [2500000]),
        ('one and a half dozen', [18]),
        ('a thousand', [1000]),
        ('hundred', [100]),
        ('hundreds of people', []),
        ('dozens', []),
        ('several hundred', []),
        ('a few', []),
        ('not three', []),
        ('not three but four', [4]),
        ("isn't five", []),
        ('two hundred hundred', [200]),
        ('one hundred thousand', [100000]),
        ('five hundred and sixty thousand', [560000]),
        ('the third one', []),
        ('one third', [Fraction(1, 3)]),
        ('two, three', [2, 3]),
        ('twenty and one', [20, 1]),
        ('one billion', [1000000000]),
        ('minus one hundred and five', [-105]),
        ('ninety-nine point nine', [Fraction(999, 10)]),
        ('five and six', [5, 6]),
        ('half of them', []),
        ('a', []),
        ('an apple', []),
        ('', []),
        ('minus', []),
        ('the minus sign', []),
        ('one and a half', [Fraction(3, 2)]),
        ('zero', [0]),
        ('two thousand three', [2003]),
        ('three thousand two million', [3000, 2000000]),
    ],
)  # fmt: skip
def test_reads_signs_parts_and_large_numbers(text: str, numbers: list[int | Fraction]):
    assert read(text) == numbers


@given(st.integers(1, 999), st.sampled_from(["thousand", "million", "billion", "dozen"]), st.booleans())
def test_a_number_in_words_scales_and_turns_around(number: int, scale: str, negative: bool):
    times = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "dozen": 12}[scale]
    value = number * times if scale != "dozen" or number < 100 else None
    if value is not None:
        assert read(f"{'minus ' * negative}{spell(number)} {scale}") == [-value if negative else value]


@given(
    st.lists(
        st.sampled_from(
            [
                *ONES,
                *TENS[2:],
                "hundred",
                "thousand",
                "million",
                "dozen",
                "and",
                "a",
                "half",
                "minus",
                "point",
                "thirds",
                "not",
                ",",
                "the",
                "x",
            ]
        ),
        max_size=30,
    ).map(" ".join)
)
def test_any_row_of_words_is_read(text: str):
    assert all(isinstance(number, int | Fraction) for number in read(text))
