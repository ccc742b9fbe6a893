from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.polynomial import PI, OutOfBoundsError, Polynomial

x, y = Polynomial.letter("x"), Polynomial.letter("y")
number = Polynomial.number


def test_like_terms_are_collected():
    assert (x + number(3)) * (x + number(5)) == x**2 + number(8) * x + number(15)
    assert x * y - y * x == number(0)


def test_roots_are_reduced():
    assert number(12).root() == number(2) * number(3).root()
    assert number(1) / number(2).root() == number(2).root() / number(2)
    assert number(2).root() * number(3).root() == number(6).root()
    assert number(Fraction(1, 4)).root() == number(Fraction(1, 2))
    assert number(2).root() ** 2 == number(2)


def test_values():
    assert (number(1) + number(2)).rational == 3
    assert x.rational is None
    assert (x + Polynomial.letter(PI) + number(2).root()).letters == {"x"}
    assert (number(2) * Polynomial.letter(PI)).real() == pytest.approx(6.283185307179586)
    assert number(2).root().real() == pytest.approx(1.4142135623730951)


@pytest.mark.parametrize(
    "step",
    [
        lambda: x**13,
        lambda: number(9) ** 999,
        lambda: x.root(),
        lambda: number(-1).root(),
        lambda: number(1) / x,
        lambda: number(10**7 + 19).root(),
        lambda: number(9) ** -13,
        lambda: x.real(),
    ],
)
def test_what_is_too_large_or_of_another_kind_is_out_of_bounds(step):
    with pytest.raises(OutOfBoundsError):
        step()


def test_products_cannot_grow_without_end():
    many = sum((Polynomial.letter(f"v{i}") for i in range(40)), number(0))
    with pytest.raises(OutOfBoundsError):
        many * many
    large = number(2**300)
    with pytest.raises(OutOfBoundsError):
        large * large


coefficients = st.lists(st.integers(-5, 5), min_size=1, max_size=4)


@given(coefficients, coefficients, st.integers(-4, 4))
def test_arithmetic_agrees_with_values(left, right, at):
    def made(parts: list[int]) -> Polynomial:
        return sum((number(part) * x**power for power, part in enumerate(parts)), number(0))

    def value(parts: list[int]) -> int:
        return sum(part * at**power for power, part in enumerate(parts))

    def put(polynomial: Polynomial) -> Fraction:
        return sum(
            (part * at ** sum(p for _, p in monomial) for monomial, part in polynomial.terms.items()), Fraction(0)
        )

    assert put(made(left) * made(right)) == value(left) * value(right)
    assert put(made(left) - made(right)) == value(left) - value(right)
