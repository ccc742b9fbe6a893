"""The original's second look at two mathematical texts: equal as text, or as values of two decimals."""

import functools
import re

from ovrl.reward import latex
from ovrl.reward.arithmetic import evaluate
from ovrl.reward.mathvalue import Relation, Scalar

MAX_CHARS = 500
"""A longer text is no plain arithmetic that anybody answers with."""

_NUMBER = re.compile(r"\s*-?[0-9]{1,9}(?:\.[0-9]{1,6})?\s*")

# Commands that leave letters what they are, and the words that the library reads as a percent sign.
_KEEPS_LETTERS = re.compile(
    r"\\(?:[dtc]?frac|sqrt|left|right|times|cdot|div|pi|infty|le|ge|leq|geq|cup|pm|circ|sin|cos|tan|log|ln"
    r"|begin\s*\{[pb]matrix\}|end\s*\{[pb]matrix\})(?![a-z])|percent(?:age)?|pct"
)
_LETTER = re.compile(r"[a-zπ]")
_FOREIGN_LETTER = re.compile(r"[^\W0-9_a-zπ]")
_WORD = re.compile(r"\\(?:text|mathrm|mbox|mathbf|mathit)[a-z]*\s*\{[^{}]*[a-df-z][^{}]*\}")
_GROUPED_DIGITS = re.compile(r"\s*-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\s*")
_OPERATOR = re.compile(r"\\(?:frac|times|cdot|div)(?![a-z])|\\sqrt\[[0-9]\]")


def is_plain_number(text: str) -> bool:
    """Tell whether a text is nothing but a number of at most nine digits and six decimals.

    Two such numbers that Math-Verify finds equal are equal, so that rounding alone decides about them.
    """
    return _NUMBER.fullmatch(text) is not None


def same_rounded(answer: str, gold: str) -> bool:
    """Tell whether two texts are equal as the original's fallback has it; case does not matter."""
    left, right = answer.lower(), gold.lower()
    if not left.strip() or not right.strip():
        return False
    if left.strip() == right.strip():
        return True
    if _rounded_items(left) == _rounded_items(right):
        return True
    value = _rounded(left)
    return value is not None and value == _rounded(right)


def _rounded_items(text: str) -> str:
    """Return a tuple or interval with its parts rounded, or the text as it is."""
    inner = text.strip()
    if "," not in inner or (inner[0], inner[-1]) not in {("(", ")"), ("[", "]")}:
        return text
    parts: list[str] = []
    for part in inner[1:-1].split(","):
        if "infty" in part or part.strip() in {"a", "-a"}:
            parts.append(part)
            continue
        value = _rounded(part)
        if value is None:
            return text
        parts.append(str(value))
    return inner[0] + ",".join(parts) + inner[-1]


@functools.lru_cache(maxsize=4_096)
def _rounded(text: str) -> float | None:
    """Return the value of LaTeX that is plain arithmetic, rounded to two decimals; None for all else."""
    if _NUMBER.fullmatch(text):
        return round(float(text), 2)
    if len(text) > MAX_CHARS or not any(char.isdigit() for char in text):
        return None
    rest = _KEEPS_LETTERS.sub(" ", text)
    if (_LETTER.search(rest) and "\\" not in rest and "≈" not in rest) or _FOREIGN_LETTER.search(text):
        return None  # a letter stays a letter, and no value comes out
    value = _value(text)
    return None if value is None else round(value, 2)


def _value(text: str) -> float | None:
    # Only here is sympy loaded.
    from ovrl.reward import algebra

    normal = algebra.normalised(text)
    if "!" in normal or algebra.PERCENT_NUMBER.search(normal) or _is_no_arithmetic(normal):
        return None  # a factorial is printed by its name
    found = latex.read(normal)
    if isinstance(found, Scalar):
        if _LETTER.search(_OPERATOR.sub(" ", normal)):
            return None  # printed with a name, be it sqrt(4) or 0*x; but the third root of 8 is 8**(1/3)
        if (value := _exact(found)) is not None:
            return value
    if (
        found is not None
        and not isinstance(found, Scalar)
        and not (isinstance(found, Relation) and "=" not in found.signs)
    ):
        return None  # printed as a set, an interval, a matrix or an equation
    printed = algebra.latex_text(normal)
    return None if printed is None else evaluate(printed)


def _is_no_arithmetic(normal: str) -> bool:
    """Tell whether a comma makes a list of it, or a word in it stays a word."""
    if not _GROUPED_DIGITS.fullmatch(normal) and ("," in normal or ";" in normal):
        return True
    return "approx" not in normal and _WORD.search(normal) is not None


def _exact(scalar: Scalar) -> float | None:
    """Return the value of a number, as long as the float arithmetic of the original could not round it otherwise."""
    number = scalar.value.rational
    if number is None:
        return None
    if scalar.kind in ("integer", "rational", "decimal") and abs(number) < 10**15:
        return float(number)
    thousandths = number * 1000
    is_near_tie = abs((thousandths - 5) % 10 - 5) > 5 - 1e-3
    return None if is_near_tie or abs(number) >= 10**9 else float(number)
