"""What a mathematical answer may say: a number or expression, an interval, a set, a relation, a matrix."""

from dataclasses import dataclass
from typing import Literal

from ovrl.reward.polynomial import Polynomial

Kind = Literal["integer", "rational", "decimal", "percent", "letter", "infinite", "composite"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: its meaning, and how it was written, on which the library's comparison depends."""

    value: Polynomial
    kind: Kind
    has_decimals: bool = False
    """A decimal number stands in it: the library computes with floats."""


@dataclass(frozen=True, slots=True)
class Span:
    """An interval."""

    low: Scalar
    high: Scalar
    brackets: str


@dataclass(frozen=True, slots=True)
class Group:
    """A set, or a tuple with its order."""

    items: "tuple[Value, ...]"
    is_ordered: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain: parts[0] signs[0] parts[1] signs[1] ...; the signs are among = < > <= >=."""

    parts: "tuple[Scalar | Span | Group, ...]"
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """Several intervals."""

    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Entries by row."""

    rows: tuple[tuple[Scalar, ...], ...]


Value = Scalar | Span | Group | Relation | Union | Matrix
