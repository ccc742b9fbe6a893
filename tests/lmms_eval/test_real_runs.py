"""`ovrl eval --tasks` with a real lmms-eval."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lmms_runs import ENVIRONMENT, Evaluate, command, variables
from ovrl.rollout.prompt import INSTRUCTIONS
from ovrl.rollout.tiny import make_tiny

pytestmark = pytest.mark.slow

FAKE = ("--model", "B", "-s", "eval.engine.engine=fake")
"""An engine that answers `<answer>B</answer>` to everything."""


def results(out: Path) -> dict[str, dict[str, float]]:
    return json.loads((out / "results.json").read_text())["benchmarks"]


def asked(out: Path, name: str) -> str:
    (samples,) = (out / "runs" / name / "output").rglob("*_samples_*.jsonl")
    return json.loads(samples.read_text().splitlines()[0])["input"]


@pytest.mark.parametrize("mode", ["fast", "thinking"])
def test_the_final_answer_is_judged_by_upstreams_scorer(evaluate: Evaluate, tmp_path: Path, mode: str):
    done = evaluate("--tasks", "choice,count,word", *FAKE, "--mode", mode, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = results(tmp_path / "out")
    assert {name: row["value"] for name, row in found.items()} == {"choice": 75.0, "count": 0.0, "word": 50.0}
    assert all(row["items"] == 4 and row["no_answer_rate"] == 0.0 for row in found.values())
    prompt = INSTRUCTIONS["normal" if mode == "fast" else "thinking"]
    assert asked(tmp_path / "out", "choice") == f"{prompt}\nQuestion 0?"
    items = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()]
    assert [item["score"] for item in items if item["benchmark"] == "choice"] == [0.0, 1.0, 1.0, 1.0]


def test_a_real_model_answers_in_the_process(evaluate: Evaluate, tmp_path: Path):
    make_tiny(tmp_path / "model", seed=3, texts=["Question 0?"] * 2)
    flags = ("--tasks", "choice", "--model", tmp_path / "model", "--max-new-tokens", 6, "-o", tmp_path / "out")
    done = evaluate(*flags, "--limit", 3)
    assert done.returncode == 0, done.stderr
    items = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()]
    assert [item["doc_id"] for item in items] == [0, 1, 2]
    assert all(1 <= item["tokens"] <= 6 for item in items)


def test_a_scorer_that_raises_is_an_error_and_the_others_are_kept(evaluate: Evaluate, tmp_path: Path):
    done = evaluate("--tasks", "broken,choice", *FAKE, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "broken: it wrote no results" in done.stderr
    assert "no such category" in done.stderr
    assert (tmp_path / "out" / "runs" / "choice" / "result.json").exists()
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_missing_metric_has_its_exit_code(evaluate: Evaluate, tmp_path: Path):
    done = evaluate("--tasks", "silent", *FAKE, "-o", tmp_path / "out")
    assert done.returncode == 4
    assert "silent: its metric 'other,none' is [], and no number" in done.stderr


def test_shards_part_the_documents(evaluate: Evaluate, tmp_path: Path):
    done = evaluate("--tasks", "choice", *FAKE, "--shard", "0/2", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (results(tmp_path / "out")["choice"]["value"], results(tmp_path / "out")["choice"]["items"]) == (50.0, 2)


def test_what_is_finished_is_not_run_again_after_a_kill(evaluate: Evaluate, benchmarks: Path, tmp_path: Path):
    out = tmp_path / "out"
    flags = ("--tasks", "choice,word", *FAKE, "-o", out)
    first = out / "runs" / "choice" / "result.json"
    process = subprocess.Popen(command(benchmarks, *flags), env=variables(), start_new_session=True)
    deadline = time.monotonic() + 240
    while not first.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    before = first.stat().st_mtime_ns
    done = evaluate(*flags)
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == before
    assert {name: row["value"] for name, row in results(out).items()} == {"choice": 75.0, "word": 50.0}
    floor = evaluate(*flags, "--min", "choice=80")
    assert floor.returncode == 4
    assert "choice is 75 %, below --min 80" in floor.stderr


def test_an_unknown_task_is_refused_before_anything_runs(evaluate: Evaluate, tmp_path: Path):
    done = evaluate("--tasks", "mathvist", *FAKE, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "mathvista" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_environment_without_lmms_eval_is_refused(benchmarks: Path, tmp_path: Path):
    if not ENVIRONMENT.exists():
        pytest.skip("no lmms-eval; run `make test-lmms`")
    bad = variables() | {"OVRL_LMMS_EVAL": str(tmp_path)}
    done = subprocess.run(
        command(benchmarks, "--tasks", "choice", *FAKE, "-o", tmp_path / "out"),
        env=bad, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "OVRL_LMMS_EVAL" in done.stderr
