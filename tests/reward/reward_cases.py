"""Shared by the tests of the rules: short ways to say a question and an answer."""

from ovrl.records import Question, Score
from ovrl.reward.outcome import Mode, Rule


def ask(rule: Rule, answer: str, *golds: str, mode: Mode = "strict") -> Score:
    """Return the score of `answer` inside answer tags."""
    return rule(Question(answer=golds), f"<answer>{answer}</answer>", mode)


def outcome(rule: Rule, answer: str, *golds: str, mode: Mode = "strict") -> tuple[float | None, str]:
    score = ask(rule, answer, *golds, mode=mode)
    return score.reward, score.status


def check_range(score: Score, high: float = 1.0) -> None:
    assert score.reward is None or 0.0 <= score.reward <= high
    assert score.reward is None or score.components["accuracy"] == score.reward
