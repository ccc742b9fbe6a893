"""Told to stop, a run saves what it has and says so; what fails in it ends it, and leaves a run that goes on."""

import json
import signal
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ovrl.errors import OvrlError
from ovrl.records import Question
from ovrl.rollout.fake import ScriptedEngine
from ovrl.train import checkpoint, fake, loop
from ovrl.train.journal import Journal
from scripted import forked, make, reply, settings


class TerminatedError(BaseException):
    pass


@pytest.fixture
def terminating():
    """SIGTERM raises, as `ovrl.cli.main` has it."""

    def raise_it(number: int, frame: object) -> None:
        raise TerminatedError

    earlier = signal.signal(signal.SIGTERM, raise_it)
    yield
    signal.signal(signal.SIGTERM, earlier)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("terminating")
@pytest.mark.parametrize("eta", [0, 2])
def test_sigterm_saves_the_last_step_and_goes_through(tmp_path: Path, eta: int):
    run = tmp_path / "run"

    def on_step(line: dict[str, Any]) -> None:
        if line["step"] == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TerminatedError):
        make(run, settings(eta, steps=8), on_step=on_step)
    point = checkpoint.latest(run)
    assert point is not None
    trained = [event["step"] for event in Journal(run / "journal.jsonl").events if event["event"] == "trained"]
    assert point.step == len(trained) == len(lines(run / "metrics.jsonl"))
    assert 3 <= point.step < 8
    make(run, settings(eta, steps=8))
    assert [line["step"] for line in lines(run / "metrics.jsonl")] == list(range(8))
    if eta == 0:
        make(tmp_path / "whole", settings(eta, steps=8))
        assert (run / "final.txt").read_text() == (tmp_path / "whole" / "final.txt").read_text()


@pytest.mark.usefixtures("terminating")
def test_a_step_that_does_not_end_within_the_grace_time_is_left_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "GRACE", 0.05)
    release = threading.Event()

    class Stuck(fake.DigestLearner):
        def step(self, items: Any, number: int) -> dict[str, Any]:
            if number == 3:
                signal.raise_signal(signal.SIGTERM)
                release.wait(20)
            return super().step(items, number)

    run = tmp_path / "run"
    with pytest.raises(TerminatedError):
        make(run, settings(0), learner_class=Stuck)
    release.set()
    point = checkpoint.latest(run)
    assert point is not None
    assert point.step == 2, "the last one written; the weights of step 3 were in pieces"
    make(run, settings(0))
    make(tmp_path / "whole", settings(0))
    assert (run / "final.txt").read_text() == (tmp_path / "whole" / "final.txt").read_text()


@pytest.mark.parametrize("eta", [0, 2])
def test_an_engine_that_dies_ends_the_run_and_the_next_goes_on(tmp_path: Path, eta: int):
    run = tmp_path / "run"
    with pytest.raises(OvrlError, match="the scripted engine stopped after 25"):
        make(run, settings(eta), engine=ScriptedEngine(reply, batch_size=8, fail_after=25))
    point = checkpoint.latest(run)
    assert point is not None, "what was trained is saved"
    assert point.step == len(lines(run / "metrics.jsonl"))
    waiting = [t for path in (run / "trajectories").glob("*.jsonl") for t in lines(path)]
    decided = [e for e in Journal(run / "journal.jsonl").events if e["event"] in ("done", "reject")]
    assert len(waiting) == 3 * len(decided), "whatever was scored has its line, also where it has no step yet"
    assert forked(run, eta) == 0
    assert not (run / "trajectories" / "open.jsonl").exists()


def test_a_scorer_that_cannot_go_on_ends_the_run(tmp_path: Path):
    class Broken:
        def submit(self, question: Question, completion: str) -> "Future[Any]":
            future: Future[Any] = Future()
            future.set_exception(OvrlError("no worker starts"))
            return future

    with pytest.raises(OvrlError, match="no worker starts"):
        make(tmp_path / "run", settings(1), scorer=Broken())


def test_an_engine_failure_while_training_goes_on_is_told_when_the_step_has_ended(tmp_path: Path):
    class Slow(fake.DigestLearner):
        def step(self, items: Any, number: int) -> dict[str, Any]:
            time.sleep(0.2)
            return super().step(items, number)

    run = tmp_path / "run"
    with pytest.raises(OvrlError, match="the scripted engine stopped"):
        make(run, settings(4), engine=ScriptedEngine(reply, batch_size=8, fail_after=14), learner_class=Slow)
    assert forked(run, 4) == 0
