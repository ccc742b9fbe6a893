"""The pool against rules that hang, die and print; time limits are told apart by status, never by seconds."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ovrl.errors import OvrlError
from ovrl.records import Question
from ovrl.reward.pool import ScorePool
from ovrl.reward.settings import ScoreSettings

RULE = """
import os
import time

from ovrl.records import Score


def score(record):
    completion = record["completion"]
    if completion == "hang":
        time.sleep(3600)
    if completion == "die":
        os._exit(1)
    print("noise on stdout", completion)
    return Score(reward=1.0, components={"accuracy": 1.0}, extracted=completion)


def nan(record):
    return Score(reward=1.0, components={"accuracy": float("nan")})
"""


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("pool") / "odd_rule.py"
    path.write_text(RULE)
    return str(path)


def verdicts(rule: str, *completions: str, workers: int = 2) -> list[tuple[str, str | None]]:
    settings = ScoreSettings(reward=rule, timeout=0.5, workers=workers)
    with ScorePool(settings) as pool:
        judged = pool.judge((Question(answer=("x",)), completion) for completion in completions)
        return [(timed.verdict.score.status, timed.verdict.score.extracted) for timed in judged]


def test_verdicts_come_in_the_order_of_the_completions(rule: str):
    asked = [f"reply {number}" for number in range(50)]
    assert verdicts(f"{rule}:score", *asked) == [("ok", text) for text in asked]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hang_and_a_death_cost_their_own_verdict_and_no_other(rule: str, workers: int):
    got = verdicts(f"{rule}:score", "a", "hang", "b", "die", "c", "hang", "d", workers=workers)
    assert got == [
        *[("ok", "a"), ("timeout", None), ("ok", "b"), ("error", None)],
        *[("ok", "c"), ("timeout", None), ("ok", "d")],
    ]


def test_a_rule_that_returns_nan_is_an_error_and_not_a_number(rule: str):
    assert verdicts(f"{rule}:nan", "a") == [("error", None)]


def test_a_pool_serves_one_round_after_another(rule: str):
    with ScorePool(ScoreSettings(reward=f"{rule}:score", workers=1)) as pool:
        for _ in range(2):
            (timed,) = pool.judge([(Question(answer=("x",)), "again")])
            assert timed.verdict.score.reward == 1.0


def test_a_cancelled_completion_costs_no_other_its_verdict(rule: str):
    with ScorePool(ScoreSettings(reward=f"{rule}:score", workers=1)) as pool:
        futures = [pool.submit(Question(answer=("x",)), f"{n}") for n in range(40)]
        cancelled = [future.cancel() for future in futures[20:30]]
        assert any(cancelled)
        assert [future.result().verdict.score.extracted for future in futures[:20]] == [str(n) for n in range(20)]
        assert pool.submit(Question(answer=("x",)), "last").result().verdict.score.extracted == "last"
    pool.close()  # once more does no harm
    with pytest.raises(OvrlError, match="closed"):
        pool.submit(Question(answer=("x",)), "late")


def test_workers_that_do_not_start_end_the_work(tmp_path: Path):
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')\n")
    settings = ScoreSettings(reward=f"{tmp_path}/broken.py:score", workers=1)
    with ScorePool(settings) as pool, pytest.raises(OvrlError, match="do not start"):
        pool.submit(Question(answer=("x",)), "a").result()


ENDLESS = {"timeout": 1e300}


def test_a_time_limit_that_no_clock_can_hold_is_no_limit(rule: str):
    with ScorePool(ScoreSettings(reward=f"{rule}:score", workers=1, **ENDLESS)) as pool:
        assert pool.submit(Question(answer=("x",)), "a").result().verdict.score.status == "ok"


@pytest.mark.parametrize("wrong", [{"weights": {"accuracy": "nan"}}, {"weights": {"box": "inf"}}, {"timeout": "inf"}])
def test_settings_are_finite(wrong: dict[str, Any]):
    with pytest.raises(ValidationError, match="finite number"):
        ScoreSettings(**wrong)
