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
        ("none", []), ("someone", []), ("often", []), ("hundred", []), ("a hundred", []),
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
