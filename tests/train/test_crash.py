"""Killed at any moment, and started again: every planned group is trained once or rejected once, and nothing twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
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


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below one, each with the word for what it is: worker, engine or other."""
    children: dict[int, list[int]] = {}
    lines: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(folder.name))
    found: dict[int, str] = {}

    def walk(parent: int) -> None:
        for child in children.get(parent, []):
            forked = "forkserver" in lines[child] and "forkserver" in lines.get(parent, "")
            found[child] = "worker" if "ovrl.reward.worker" in lines[child] else "engine" if forked else "other"
            walk(child)

    walk(pid)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("option", "kills", "of"), [("--pool", 25, "main worker"), ("--engine", 25, "engine worker")])
def test_killed_at_random_with_its_children_it_loses_nothing(tmp_path: Path, option: str, kills: int, of: str):
    """Each kill hits the learner and controller, an engine or a worker, some records after the last one."""
    chance, run, done = random.Random(7), tmp_path / "run", Counter[str]()
    journal = run / "journal.jsonl"
    deadline = time.monotonic() + 900  # a busy machine needs half a minute for each new engine
    while True:
        with (tmp_path / "errors.txt").open("ab") as errors:
            main = subprocess.Popen([sys.executable, str(HARNESS), str(run), "2", option], stderr=errors)
        began = size = journal.stat().st_size if journal.exists() else 0
        while main.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
            grown = (journal.stat().st_size if journal.exists() else 0) - size
            if done.total() >= kills or grown < chance.randint(60, 400):
                continue
            found = {"main": [main.pid]}
            for pid, kind in descendants(main.pid).items():
                found.setdefault(kind, []).append(pid)
            kind = chance.choice(of.split())
            for pid in found.get(kind, [])[:1]:
                os.kill(pid, signal.SIGKILL)
                done[kind] += 1
                size = journal.stat().st_size
        assert time.monotonic() < deadline, (done, (tmp_path / "errors.txt").read_text()[-2000:])
        if main.returncode == 0:
            break
        assert main.returncode == -signal.SIGKILL, (tmp_path / "errors.txt").read_text()[-2000:]
        assert journal.stat().st_size >= began or done["main"], "progress"
    assert done.total() == kills, f"the run was over before: {done}"
    check(run, 2)
