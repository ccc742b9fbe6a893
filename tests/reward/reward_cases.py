"""Shared by the tests of the rules: short ways to say a question and an answer."""

import signal
import sys
from collections.abc import Callable

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


def calls(work: Callable[[], object]) -> int:
    """Count the functions that are called, Python's and those in C: the same on every machine, however busy."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def check_work_grows_with_length(work: Callable[[str], object], head: str, piece: str, tail: str = "") -> None:
    """Check that a text of twice the length costs twice the calls at most, and that the longest text is read.

    Calls do not tell what a pattern does within one; but one that goes back and forth over the longest text would
    not come to its end for minutes: the alarm is for that, and tells no quick machine from a slow one.
    """
    short, long = (
        calls(lambda size=size: work(head + piece * (size // len(piece)) + tail)) for size in (5_000, 10_000)
    )
    assert long <= 2.2 * short + 60
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(60)
    try:
        work(head + piece * (190_000 // len(piece)) + tail)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _hangs(number: int, frame: object) -> None:
    raise AssertionError("it does not come to its end")
