"""Killed at any moment, and started again: every planned group is trained once or rejected once, and nothing twice."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ovrl.train.journal import Journal

HARNESS = Path(__file__).parents[1] / "scripted.py"
GROUP_SIZE = 3


def harness(*arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(HARNESS), *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def lines(run: Path, pattern: str = "trajectories/*.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(run.glob(pattern)) for line in path.read_text().splitlines()]


def fates(run: Path) -> dict[int, int | str]:
    """Return the step or the reason of each planned group, as the journal has it; each exactly one."""
    events = Journal(run / "journal.jsonl").events
    planned = [event["gid"] for event in events if event["event"] == "plan"]
    assert planned == list(range(len(planned))), "planned in order, and none twice"
    takes = [event for event in events if event["event"] == "take"]
    assert [event["step"] for event in takes] == list(range(len(takes))), "no step is taken twice"
    ends = [(gid, event["step"]) for event in takes for gid in event["gids"]]
    ends += [(event["gid"], event["reason"]) for event in events if event["event"] == "reject"]
    assert Counter(gid for gid, _ in ends) == Counter(planned), "each group ends, and once"
    return dict(ends)


def check(run: Path, eta: int) -> None:
    """Check what must hold of any run that has ended."""
    found = fates(run)
    trajectories = lines(run)
    assert Counter((t["group_id"], t["k"]) for t in trajectories) == Counter(
        (gid, k) for gid in found for k in range(GROUP_SIZE)
    )
    for t in trajectories:
        fate = t["rejected"] if t["step"] is None else t["step"]
        assert fate == found[t["group_id"]]
        if t["step"] is not None:
            assert all(0 <= t["step"] - version <= eta for version in t["versions"])
    assert [line["step"] for line in lines(run, "metrics.jsonl")] == sorted(
        {event["step"] for event in Journal(run / "journal.jsonl").events if event["event"] == "take"}
    )
    assert not (run / "spool").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    harness(run, 0)
    check(run, 0)
    return run


def test_killed_at_every_record_a_synchronous_run_ends_as_if_nothing_had_happened(whole: Path, tmp_path: Path):
    runs = harness(tmp_path, 0, "--points")
    records = len(Journal(whole / "journal.jsonl").events)
    assert len(runs) >= 3 * records - 3, "every record in three ways; the timing of the checkpoints' moves none"
    for name in runs:
        run = tmp_path / name
        check(run, 0)
        assert fates(run) == fates(whole), name
        assert lines(run) == lines(whole), name
        assert (run / "final.txt").read_text() == (whole / "final.txt").read_text(), name


def test_killed_at_every_record_an_asynchronous_run_loses_nothing(tmp_path: Path):
    runs = harness(tmp_path, 4, "--points")
    assert len(runs) > 40
    for name in runs:
        check(tmp_path / name, 4)
