"""Stopped in the middle, and the same command again: nothing is done twice, nothing is lost."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Cli, Started, lines_of

from builders import line

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


def said(code: int, error: str) -> bool:
    """Whether a stop by hand was told in one line; a kill says nothing."""
    return code < 0 or "the same command goes on from here" in error


def count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("number", CODES)
def test_score(shell: Started, tmp_path: Path, number: int):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom ovrl.records import Score\n"
        "def rule(record):\n    time.sleep(0.02)\n    return Score(reward=float(record['completion']))\n"
    )
    lines = [line(f"s{i}", completion=str(i)) for i in range(60)]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(record) + "\n" for record in lines))
    command = ["score", "c.jsonl", "-o", "s.jsonl", "--reward", "slow.py:rule", "--workers", 1]
    partial = tmp_path / "s.jsonl.partial"
    stopped = shell.stop_when(shell.start(*command), lambda: count(partial) >= 5, number)
    assert stopped.code == CODES[signal.Signals(number)]
    assert said(stopped.code, "" if stopped.code < 0 else stopped.error)
    assert not (tmp_path / "s.jsonl").exists()
    kept = partial.read_bytes()
    kept = kept[: kept.rindex(b"\n") + 1]
    assert 5 <= kept.count(b"\n") < 60
    assert shell.finish(*command).code == 0
    assert (tmp_path / "s.jsonl").read_bytes().startswith(kept)  # elapsed_ms tells that none was judged again
    assert [(r["sample_id"], r["reward"]) for r in lines_of(tmp_path / "s.jsonl")] == [(f"s{i}", i) for i in range(60)]


def test_what_goes_to_stdout_is_not_said_to_be_saved(shell: Started, tmp_path: Path):
    (tmp_path / "slow.py").write_text("import time\nfrom pathlib import Path\ndef rule(record):\n"
                                      "    Path('begun').touch()\n    time.sleep(60)\n")  # fmt: skip
    (tmp_path / "c.jsonl").write_text(json.dumps(line("a")) + "\n")
    process = shell.start("score", "c.jsonl", "--reward", "slow.py:rule")
    stopped = shell.stop_when(process, (tmp_path / "begun").exists, signal.SIGTERM)
    assert stopped.code == 143
    assert "what went to stdout is not resumed; give -o FILE for that" in stopped.error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_rollout_with_a_model(shell: Started, cli: Cli, jsonl: Path, tiny: Path, tmp_path: Path, number: int):
    small = ["--max-new-tokens", 24, "-s", "rollout.engine.batch_size=2", "-s", "rollout.engine.device=cpu"]
    command = ["rollout", jsonl, "--model", tiny, "-n", 2, *small, "-o"]
    partial = tmp_path / "out" / "completions.jsonl.partial"
    stopped = shell.stop_when(shell.start(*command, "out"), lambda: count(partial) >= 3, number)
    assert stopped.code == CODES[signal.Signals(number)]
    assert said(stopped.code, "" if stopped.code < 0 else stopped.error)
    kept = partial.read_bytes()
    assert 3 <= kept.count(b"\n") < 24
    assert cli(*command, tmp_path / "out").code == 0
    assert cli(*command, tmp_path / "whole").code == 0
    assert (tmp_path / "out" / "completions.jsonl").read_bytes().startswith(kept)
    assert same(tmp_path / "out", tmp_path / "whole", "completions.jsonl")


def same(one: Path, other: Path, name: str) -> bool:
    found, want = lines_of(one / name), lines_of(other / name)
    assert len({record["id"] for record in found}) == len(found)
    return found == want


STAGES = tuple(f"stage{number}/part-00000-of-00001.parquet" for number in (1, 2))


def test_curate_and_eval(shell: Started, cli: Cli, jsonl: Path, scored: Path, tmp_path: Path):
    """Curation is over in a moment: it is stopped as soon as its directory is there."""
    command = ["curate", "-i", scored, "--samples", jsonl, "-o"]
    process = shell.start(*command, "out")
    stopped = shell.stop_when(process, (tmp_path / "out" / "manifest.json").exists, signal.SIGINT)
    assert stopped.code in (130, 0)
    assert cli(*command, tmp_path / "out").code == 0
    assert cli(*command, tmp_path / "whole").code == 0
    for name in ("curation.jsonl", "summary.json", "report.html", *STAGES):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )

    slow = ["-s", "eval.score.reward=slow.py:rule", "-s", "eval.score.workers=1", "-s", "eval.engine.engine=fake"]
    (tmp_path / "slow.py").write_text(
        "import time\nfrom ovrl.records import Score\n"
        "def rule(record):\n    time.sleep(0.03)\n    return Score(reward=1.0)\n"
    )
    command = ["eval", "--model", 3, "--samples", jsonl, "-n", 4, *slow, "-o"]
    partial = tmp_path / "eval" / "scores.jsonl.partial"
    stopped = shell.stop_when(shell.start(*command, "eval"), lambda: count(partial) >= 3, signal.SIGINT)
    assert (stopped.code, (tmp_path / "eval" / "results.json").exists()) == (130, False)
    kept = partial.read_bytes()
    assert shell.finish(*command, "eval").code == 0
    assert (tmp_path / "eval" / "scores.jsonl").read_bytes().startswith(kept)
    items = lines_of(tmp_path / "eval" / "items.jsonl")
    assert [item["n"] for item in items] == [4] * 12


def groups(run: Path) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for path in sorted((run / "trajectories").glob("*.jsonl")):
        for record in lines_of(path):
            found.setdefault(record["group_id"], []).append(record)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_train(shell: Started, cli: Cli, jsonl: Path, tiny: Path, tmp_path: Path, number: int):
    """Rewards are the parity of the length, so that a random model has something to learn."""
    (tmp_path / "parity.py").write_text(
        "from ovrl.records import Score\n"
        "def rule(record):\n    return Score(reward=float(len(record['completion']) % 2))\n"
    )
    small = {
        "batch.groups": 4,
        "batch.group_size": 4,
        "sampling.max_new_tokens": 16,
        "score.reward": tmp_path / "parity.py:rule",
        "score.workers": 1,
        "learner.device": "cpu",
        "save_every": 1,
        "eta": 0,
    }
    assign = [part for key, value in small.items() for part in ("-s", f"train.{key}={value}")]
    command = ["train", "--stage", 1, "-i", jsonl, "--model", tiny, "--preset", "tiny", "--steps", 3, *assign, "-o"]
    metrics = tmp_path / "out" / "metrics.jsonl"
    stopped = shell.stop_when(shell.start(*command, "out"), lambda: count(metrics) >= 1, number)
    assert stopped.code == CODES[signal.Signals(number)]
    assert said(stopped.code, "" if stopped.code < 0 else stopped.error)
    resumed = cli(*command, tmp_path / "out")
    assert resumed.code == 0, resumed.err
    if number == signal.SIGINT:
        return  # the comparison below is made once
    assert cli(*command, tmp_path / "whole").code == 0
    assert [record["step"] for record in lines_of(metrics)] == [0, 1, 2]
    ours, theirs = groups(tmp_path / "out"), groups(tmp_path / "whole")
    assert ours == theirs  # the same tokens, each once, with one fate
    for group in ours.values():
        assert [record["k"] for record in group] == [0, 1, 2, 3]
        assert len({(record["step"], record["rejected"]) for record in group}) == 1
    final = [(tmp_path / run / "final" / "model.safetensors").read_bytes() for run in ("out", "whole")]
    assert final[0] == final[1]
