"""Which completion a fleet blames when a worker is late; `test_pool` and `test_score_lines` have real workers."""

from types import SimpleNamespace
from typing import Any

import pytest

from ovrl.records import Question
from ovrl.reward import fleet
from ovrl.reward.batch import Batch, Duty
from ovrl.reward.clock import PROGRESS

LONG_AGO = 1.0


class Late:
    """A process whose worker goes on to the next completion at the moment in which it is killed."""

    def __init__(self) -> None:
        self.progress = bytearray(PROGRESS.pack(1, 0, LONG_AGO))
        self.sent: list[Any] = []
        self.process = SimpleNamespace(poll=lambda: None)
        self.channel = SimpleNamespace(send=self.sent.append, fileno=lambda: 0)

    def end(self) -> None:
        self.progress[:] = PROGRESS.pack(2, 0, LONG_AGO)


def test_the_late_completion_is_blamed_and_not_the_one_after_it(monkeypatch: pytest.MonkeyPatch):
    started: list[Late] = []

    def start() -> Late:
        started.append(Late())
        return started[-1]

    monkeypatch.setattr(fleet, "start", start)
    monkeypatch.setattr(fleet.select, "poll", lambda: SimpleNamespace(register=lambda *_: None, poll=lambda _: []))
    workers = fleet.Fleet(Duty(workers=1, timeout=5.0))
    workers.give(0, Batch(asked=[(Question(), str(n), {}) for n in range(4)]))
    assert list(workers.wait()) == []
    *_, again = started[1].sent
    assert {place: score.status for place, score in again.failures.items()} == {(1, 0): "timeout"}
