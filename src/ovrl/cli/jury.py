"""What stops the sampling of a prompt early: the rules of `ovrl score` and `ovrl curate`, put together."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from ovrl.curate.early import EarlyVerdict, Reply
from ovrl.curate.settings import CurateSettings
from ovrl.records import FinishReason, Question
from ovrl.reward.batch import Timed
from ovrl.reward.pool import ScorePool
from ovrl.reward.settings import ScoreSettings

_AHEAD = 1024
"""Completions that may wait for their score, in memory."""


class Heard(NamedTuple):
    """A completion on its way to a score."""

    score: "Future[Timed]"
    finish_reason: FinishReason


class Jury:
    """Scores completions while others are sampled; see `ovrl.rollout.plan.Jury`."""

    def __init__(self, score: ScoreSettings, curate: CurateSettings) -> None:
        """Start the scoring."""
        self._pool = ScorePool(score)
        self._early = EarlyVerdict(curate)
        self._waiting: deque[Future[Timed]] = deque()

    def hear(self, question: Question, text: str, finish_reason: FinishReason) -> Heard:
        """Have a completion scored."""
        if len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        future = self._pool.submit(question, text)
        self._waiting.append(future)
        return Heard(future, finish_reason)

    def settled(self, question: Question, heard: Sequence[Heard], left: int) -> bool:
        """Return whether `left` more completions would not change the verdict on the sample."""
        return self._early.settled(question, [_reply(one) for one in heard], left)

    def close(self) -> None:
        """End the scoring."""
        self._pool.close()


def _reply(heard: Heard) -> Reply:
    """Return what `ovrl curate` will read from the scored line."""
    score = heard.score.result().verdict.score
    accuracy = None if score.reward is None else score.components.get("accuracy", score.reward)
    return Reply(accuracy, is_unanswered=heard.finish_reason == "length" and score.status == "no_answer")
