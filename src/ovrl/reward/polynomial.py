"""Exact sums of products: rational numbers, letters, pi and square roots. Bounded, so that nothing can explode.

Two polynomials are equal as functions exactly when they are equal as values here: products are multiplied
out, like terms are collected, and roots are reduced to square-free radicands.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]
"""Sorted (name, power) pairs. A name that is a number stands for its square root, with power 1."""

PI, EULER = "\\pi", "\\e"
_CONSTANTS = {PI: math.pi, EULER: math.e}

_MAX_TERMS = 64
_MAX_POWER = 12
_MAX_BITS = 512
_MAX_RADICAND = 10**6


class OutOfBoundsError(Exception):
    """The result would be larger, or of another kind, than what is computed here."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A sum of monomials with rational coefficients; zero has no terms."""

    terms: Mapping[Monomial, Fraction]

    @classmethod
    def number(cls, value: Fraction | int) -> "Polynomial":
        """Return a constant."""
        return cls({(): Fraction(value)} if value else {})

    @classmethod
    def letter(cls, name: str) -> "Polynomial":
        """Return a letter or a constant."""
        return cls({((name, 1),): Fraction(1)})

    @property
    def rational(self) -> Fraction | None:
        """The value, if it is a rational number."""
        if not self.terms:
            return Fraction(0)
        return self.terms.get(()) if len(self.terms) == 1 else None

    @property
    def letters(self) -> set[str]:
        """All names but constants and roots."""
        names = {name for monomial in self.terms for name, _ in monomial}
        return {name for name in names if name not in _CONSTANTS and not name.isdigit()}

    def real(self) -> float:
        """Return the value of a polynomial without letters; OutOfBoundsError if no float can hold it."""
        try:
            return math.fsum(float(part) * _constant(monomial) for monomial, part in self.terms.items())
        except (OverflowError, ValueError) as error:
            raise OutOfBoundsError from error

    def __add__(self, other: "Polynomial") -> "Polynomial":
        terms = dict(self.terms)
        for monomial, part in other.terms.items():
            terms[monomial] = terms.get(monomial, Fraction(0)) + part
        return _bounded(terms)

    def __neg__(self) -> "Polynomial":
        return Polynomial({monomial: -part for monomial, part in self.terms.items()})

    def __sub__(self, other: "Polynomial") -> "Polynomial":
        return self + -other

    def __mul__(self, other: "Polynomial") -> "Polynomial":
        if len(self.terms) * len(other.terms) > _MAX_TERMS * 4:
            raise OutOfBoundsError
        terms: dict[Monomial, Fraction] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                factor, monomial = _product(left, right)
                terms[monomial] = terms.get(monomial, Fraction(0)) + a * b * factor
        return _bounded(terms)

    def __truediv__(self, other: "Polynomial") -> "Polynomial":
        """Divide by a rational number, or by one with a single root; anything else is OutOfBoundsError."""
        if len(other.terms) != 1:
            raise OutOfBoundsError
        [(monomial, part)] = other.terms.items()
        if any(not name.isdigit() for name, _ in monomial):
            raise OutOfBoundsError
        radicand = math.prod(int(name) for name, _ in monomial)
        return self * Polynomial({monomial: 1 / (part * radicand)})

    def __pow__(self, exponent: int) -> "Polynomial":
        base = self
        if exponent < 0:
            base, exponent = Polynomial.number(1) / self, -exponent
        if exponent > _MAX_POWER:
            raise OutOfBoundsError
        result = Polynomial.number(1)
        for _ in range(exponent):
            result *= base
        return result

    def root(self) -> "Polynomial":
        """Return the square root of a rational number that is not negative."""
        value = self.rational
        if value is None or value < 0:
            raise OutOfBoundsError
        # sqrt(p/q) = sqrt(pq)/q
        outside, inside = _square_free(value.numerator * value.denominator)
        factor = Polynomial.number(Fraction(outside, value.denominator))
        return factor if inside == 1 else factor * Polynomial({((str(inside), 1),): Fraction(1)})


def whole_root(number: int, index: int) -> int | None:
    """Return the whole number whose power is `number`, if there is one."""
    guess = round(number ** (1 / index))
    return guess if guess**index == number else None


def _bounded(terms: dict[Monomial, Fraction]) -> Polynomial:
    kept = {monomial: part for monomial, part in terms.items() if part}
    if len(kept) > _MAX_TERMS:
        raise OutOfBoundsError
    for part in kept.values():
        if part.numerator.bit_length() > _MAX_BITS or part.denominator.bit_length() > _MAX_BITS:
            raise OutOfBoundsError
    return Polynomial(kept)


def _product(left: Monomial, right: Monomial) -> tuple[int, Monomial]:
    """Return a whole factor and the monomial; two roots become one, of a square-free number."""
    powers: dict[str, int] = {}
    radicand = 1
    for name, power in (*left, *right):
        if name.isdigit():
            radicand *= int(name)
        else:
            powers[name] = powers.get(name, 0) + power
            if powers[name] > _MAX_POWER:
                raise OutOfBoundsError
    outside, inside = _square_free(radicand)
    if inside > 1:
        powers[str(inside)] = 1
    return outside, tuple(sorted(powers.items()))


def _square_free(number: int) -> tuple[int, int]:
    """Return (a, b) with number = a * a * b, where no square divides b."""
    root = math.isqrt(number)
    if root * root == number:
        return root, 1
    if number > _MAX_RADICAND:
        raise OutOfBoundsError
    outside = 1
    for factor in range(2, math.isqrt(number) + 1):
        while number % (factor * factor) == 0:
            number //= factor * factor
            outside *= factor
    return outside, number


def _constant(monomial: Monomial) -> float:
    value = 1.0
    for name, power in monomial:
        if name in _CONSTANTS:
            value *= _CONSTANTS[name] ** power
        elif name.isdigit():
            value *= math.sqrt(int(name))
        else:
            raise OutOfBoundsError
    return value
