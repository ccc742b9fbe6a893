"""A verdict is called settled only when full sampling would hardly ever end in another."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from ovrl.curate import guessing, rules
from ovrl.curate.early import EarlyVerdict, Reply
from ovrl.curate.rules import Counts
from ovrl.curate.settings import CurateSettings
from ovrl.records import Question

FREE = Question(problem="What is it?", answer=("pi",), answer_type="math-expressions")
CHOICE = Question(problem="Which?\nA. a\nB. b\nC. c\nD. d", answer=("A",), answer_type="multiple-choice")
BOX = Question(problem="Where?", answer=("[1, 2, 3, 4]",), answer_type="bbox")
COUNT = Question(problem="How many?", answer=("3",), answer_type="number", problem_type="counting")

RIGHT, WRONG, ERROR, CUT = Reply(1.0), Reply(0.0), Reply(None), Reply(0.0, is_unanswered=True)


def kept(replies: list[Reply], question: Question, settings: CurateSettings) -> bool:
    """What `ovrl curate` makes of these completions, counted here by hand."""
    judged = [one.accuracy for one in replies if one.accuracy is not None and not one.is_unanswered]
    threshold = settings.pass_threshold.of(question.answer_type)
    counts = Counts(
        total=len(replies),
        n=len(judged),
        correct=sum(value >= threshold for value in judged),
        mean=sum(judged) / len(judged) if judged else None,
        std=0.0,
        truncated=sum(one.is_unanswered for one in replies),
        unanswered=sum(one.is_unanswered for one in replies),
        errors=sum(one.accuracy is None for one in replies),
    )
    return rules.decide(rules.measure(counts, guessing.chance(question), settings), settings).keep


def graded(chance: random.Random, rate: float) -> Reply:
    return Reply(chance.uniform(0.5, 1.0) if chance.random() < rate else chance.uniform(0.0, 0.5))


def plain(chance: random.Random, rate: float) -> Reply:
    return RIGHT if chance.random() < rate else WRONG


def troubled(chance: random.Random, rate: float) -> Reply:
    fate = chance.random()
    return CUT if fate < 0.15 else ERROR if fate < 0.2 else plain(chance, rate)


POPULATIONS: dict[str, Callable[[random.Random], float]] = {
    "all rates": lambda chance: chance.random(),
    "hard or easy": lambda chance: chance.betavariate(0.3, 0.3),
    "hard": lambda chance: chance.betavariate(0.3, 2.0),
    "easy": lambda chance: chance.betavariate(3.0, 0.6),
    "all at the bound of the band": lambda chance: 0.6,
}


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize(
    ("question", "draw", "rule", "n"),
    [
        (FREE, plain, "default", 16),
        (CHOICE, plain, "default", 16),
        (CHOICE, plain, "default", 32),
        (BOX, graded, "default", 16),
        (FREE, troubled, "default", 16),
        (FREE, plain, "band", 16),
        (CHOICE, plain, "paper", 8),
    ],
)
def test_the_verdict_is_that_of_full_sampling_in_99_of_100_cases(
    question: Question, draw: Any, rule: str, n: int, population: str
):
    settings, chance, count = CurateSettings(rule=rule), random.Random(0), 600
    early = EarlyVerdict(settings)
    same = made = 0
    for _ in range(count):
        rate = POPULATIONS[population](chance)
        replies = [draw(chance, rate) for _ in range(n)]
        stop = next(m for m in range(n // 4, n + 1, n // 4) if early.settled(question, replies[:m], n - m))
        same += kept(replies[:stop], question, settings) == kept(replies, question, settings)
        made += stop
    # At a bound, where each sample is a coin toss, a few more cases may differ by chance in a draw of this size.
    assert same >= (0.98 if "bound" in population else 0.99) * count
    if population != "all at the bound of the band":
        assert made < 0.95 * n * count


@pytest.mark.parametrize(
    ("replies", "left", "settled"),
    [
        ([], 16, False),
        ([WRONG] * 15, 1, False),  # one hit would do
        ([WRONG] * 16, 0, True),
        ([RIGHT] * 10 + [WRONG] * 2, 4, True),  # 10 of 16 are above the band, whatever comes
        ([RIGHT] * 9 + [WRONG] * 3, 4, False),  # 9 of 16 are below it
        ([RIGHT] * 2 + [WRONG] * 7, 7, True),  # 9 of 16 at most
        ([RIGHT] + [WRONG] * 3, 12, False),
        ([RIGHT] * 4 + [WRONG] * 7 + [ERROR], 4, True),
        ([ERROR] * 8, 8, True),  # nothing is known, and half of all are errors already
    ],
)
def test_what_can_still_change_is_not_settled(replies: list[Reply], left: int, settled: bool):
    assert EarlyVerdict(CurateSettings()).settled(FREE, replies, left) == settled


def test_a_verdict_on_fewer_completions_must_be_the_same():
    """`ovrl curate` sees no more than what was sampled: with k = 8 and four completions the gap is another."""
    settings = CurateSettings(k=8, min_gap=0.8)
    replies = [RIGHT] + [WRONG] * 7  # pass@8 - pass@1 is 1 - 1/8 now, and 1/2 - 1/16 when nothing else is found
    assert kept(replies, FREE, settings)
    assert not kept(replies + [WRONG] * 24, FREE, settings)
    assert not EarlyVerdict(settings).settled(FREE, replies, 24)


def test_counts_that_may_be_guessed_are_sampled_on():
    """How common an answer is in its data set is known at the end: 4 of 12 may be skill, and may be guessing."""
    replies = [RIGHT] * 4 + [WRONG] * 8
    early = EarlyVerdict(CurateSettings())
    assert early.settled(FREE, replies, 4)
    assert not early.settled(COUNT, replies, 4)
