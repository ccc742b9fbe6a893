"""What every rule shares: the two modes, the shape of a rule, and the three ways a rule can end."""

from collections.abc import Callable
from typing import Literal

from ovrl.records import Question, Score, Status

MAX_CHARS = 200_000
"""A longer completion is not read: every rule may count on bounded input."""

Mode = Literal["strict", "ov15"]
"""`strict` is the rule as it is stated; `ov15` repeats the original's figures, bugs included."""

Rule = Callable[[Question, str, Mode], Score]
"""A rule reads the question and the completion's text; it neither raises on purpose nor does I/O."""


def graded(accuracy: float, extracted: str | None) -> Score:
    """Return the score of an answer that could be read and compared; `accuracy` is in [0, 1]."""
    value = float(accuracy) + 0.0  # turns -0.0 into 0.0
    return Score(reward=value, components={"accuracy": value}, extracted=extracted)


def missed(status: Status, extracted: str | None = None) -> Score:
    """Return 0 with the reason why nothing could be compared: no_answer, ambiguous or parse_error."""
    return Score(reward=0.0, status=status, components={"accuracy": 0.0}, extracted=extracted)


def unscored(status: Status, extracted: str | None = None) -> Score:
    """Return a null reward: the failure is the grader's or the data's, not the completion's."""
    return Score(reward=None, status=status, extracted=extracted)


def usable_golds(question: Question) -> list[str]:
    """Return the gold answers that are not blank; an empty list makes the gold invalid."""
    return [gold for gold in question.answer if gold.strip()]
