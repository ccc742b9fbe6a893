"""What a confined process can still do; each case runs in a process of its own, since locks never open again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ovrl.reward import confine, program, seal

SOURCE = Path(__file__).parents[2] / "src"

if not sys.platform.startswith("linux"):
    pytest.skip("the locks are Linux's", allow_module_level=True)

TRY = """
import json, os, sys
from ovrl.reward import confine, program, seal
{before}
locks = confine.confine_worker({memory})

def tried(call):
    try:
        return repr(call())
    except (OSError, MemoryError) as error:
        return type(error).__name__

canary, victim, port = {canary!r}, {victim!r}, {port}
outcomes = {{}}
def attempt(name, call):
    outcomes[name] = tried(call)
{body}
print(json.dumps([[[lock.name, lock.is_in_force, lock.remedy] for lock in locks], outcomes]))
"""

NO_LANDLOCK = """
def no_landlock(_): raise seal.SealError("no Landlock here")
seal.restrict_files = no_landlock
"""
NO_SECCOMP = """
def no_seccomp(*_): raise seal.SealError("no seccomp here")
seal.build_filter = no_seccomp
"""

READS = """
import linecache, pathlib
attempt("open", lambda: open(canary).read())
attempt("os.open", lambda: os.open(canary, os.O_RDONLY))
attempt("pathlib", lambda: pathlib.Path(canary).read_text())
attempt("environment", lambda: open("/proc/self/environ").read())
attempt("passwd", lambda: open("/etc/passwd").read())
"""
CHANGES = """
import socket, subprocess
attempt("write", lambda: open(victim + "/new", "w"))
attempt("append", lambda: open(victim + "/kept", "a"))
attempt("change", lambda: os.open(victim + "/kept", os.O_RDWR))
attempt("remove", lambda: os.remove(victim + "/kept"))
attempt("make", lambda: os.mkdir(victim + "/made"))
attempt("rename", lambda: os.rename(victim + "/kept", victim + "/moved"))
attempt("fork", lambda: os.fork())
attempt("run", lambda: subprocess.run(["/bin/true"]))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", port), 1))
attempt("kill", lambda: os.kill(os.getppid(), 0))
"""


def attempted(tmp_path: Path, body: str, *, before: str = "", memory: str = "") -> tuple[list[Any], dict[str, str]]:
    canary, victim = tmp_path / "secret.txt", tmp_path / "victim"
    canary.write_text("CANARY")
    victim.mkdir(exist_ok=True)
    (victim / "kept").write_text("kept")
    code = TRY.format(body=body, before=before, memory=memory, canary=str(canary), victim=str(victim), port=9)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert [entry.name for entry in victim.iterdir()] == ["kept"]
    assert (victim / "kept").read_text() == "kept"
    locks, outcomes = json.loads(done.stdout.splitlines()[-1])
    return locks, outcomes


def has(name: str) -> bool:
    return next(lock.is_in_force for lock in confine.available() if name in lock.name)


needs_landlock = pytest.mark.skipif(not has("Landlock"), reason="no Landlock")
needs_seccomp = pytest.mark.skipif(not has("seccomp"), reason="no seccomp")


@needs_landlock
def test_no_foreign_file_can_be_read(tmp_path: Path):
    locks, outcomes = attempted(tmp_path, READS, before=NO_SECCOMP)
    assert set(outcomes.values()) == {"PermissionError"}
    assert [force for name, force, _ in locks if "Landlock" in name] == [True]


@needs_seccomp
def test_nothing_can_be_written_started_or_called(tmp_path: Path):
    locks, outcomes = attempted(tmp_path, CHANGES, before=NO_LANDLOCK)
    assert set(outcomes.values()) == {"PermissionError"}
    assert [force for name, force, _ in locks if "seccomp" in name] == [True]


def test_without_the_kernels_locks_python_itself_refuses_and_the_result_says_so(tmp_path: Path):
    locks, outcomes = attempted(tmp_path, READS + CHANGES, before=NO_LANDLOCK + NO_SECCOMP)
    assert set(outcomes.values()) == {"PermissionError"}
    assert [(force, why) for name, force, why in locks if "Landlock" in name] == [(False, "no Landlock here")]
    assert [(force, why) for name, force, why in locks if "seccomp" in name] == [(False, "no seccomp here")]


@needs_seccomp
def test_a_library_in_c_cannot_write_or_connect_either(tmp_path: Path):
    body = """
import ctypes
library = ctypes.CDLL(None, use_errno=True)
attempt("open", lambda: library.open((victim + "/c").encode(), os.O_WRONLY | os.O_CREAT, 0o644))
attempt("socket", lambda: library.socket(2, 1, 0))
attempt("unlink", lambda: library.unlink((victim + "/kept").encode()))
attempt("rename", lambda: library.rename((victim + "/kept").encode(), (victim + "/moved").encode()))
attempt("fork", lambda: library.fork())
"""
    assert set(attempted(tmp_path, body, before=NO_LANDLOCK)[1].values()) == {"-1"}


@needs_landlock
def test_a_library_in_c_cannot_read_either(tmp_path: Path):
    body = """
import ctypes
library = ctypes.CDLL(None, use_errno=True)
attempt("open", lambda: library.open(canary.encode(), os.O_RDONLY))
"""
    assert attempted(tmp_path, body)[1] == {"open": "-1"}


def test_memory_is_limited_and_threads_still_work(tmp_path: Path):
    body = """
import threading
attempt("much", lambda: len(bytearray(300 << 20)))
attempt("some", lambda: len(bytearray(50 << 20)))
thread = threading.Thread(target=lambda: attempt("thread", lambda: 1))
thread.start()
thread.join()
"""
    outcomes = attempted(tmp_path, body, memory="400 << 20")[1]
    assert outcomes == {"much": "MemoryError", "some": str(50 << 20), "thread": "1"}


def test_every_rule_and_its_libraries_still_load_and_score(tmp_path: Path):
    body = """
from ovrl.records import Question
from ovrl.reward.judge import judge

drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text x="1" y="5">a</text></svg>'
shifted = drawing.replace('x="1"', 'x="4"')
for kind, gold, answer in [
    ("number", "7", "7"), ("boolean", "yes", "yes"), ("multiple-choice", "B", "B"), ("any", "x", "x"),
    ("critic", "x", "x"), ("bbox", "[0, 0, 1, 1]", "[0, 0, 1, 1]"), ("ocrtext", "abc", "abc"),
    ("html-code", "<p>a</p>", "<p>a</p>"), ("math-expressions", "$\\\\\\\\frac{1}{2}$", "$0.5$"),
    ("svg-code", drawing, shifted),
]:
    score = judge(Question(answer=(gold,), answer_type=kind), f"<answer>{answer}</answer>").score
    outcomes[kind] = f"{score.status} {(score.reward or 0.0) > 0.5} {score.note}"
"""
    assert set(attempted(tmp_path, body)[1].values()) == {"ok True None"}


@pytest.mark.skipif(program.missing() is not None, reason="programs cannot be sealed here")
def test_programs_still_run_in_a_confined_worker_and_a_lost_host_ends_it(tmp_path: Path):
    body = """
limits = program.Limits(2.0, 5.0, 1 << 27)
source = "import os\\ndef solution(text): return text * 2, os.getppid()"
attempt("run", lambda: program.run(source, "ab", limits).ending)
attempt("again", lambda: program.run("def solution(text): return text * 2", "ab", limits).output)
program.close()
try:
    program.run(source, "ab", limits)
except SystemExit as leaving:
    outcomes["lost"] = str(leaving)[:12]
"""
    outcomes = attempted(tmp_path, body)[1]
    assert outcomes == {"run": "'returned'", "again": r"b'abab\n'", "lost": "the program "}


@pytest.mark.skipif(program.missing() is not None, reason="programs cannot be sealed here")
def test_a_host_that_is_lost_during_a_run_ends_the_worker_at_once(tmp_path: Path):
    """Not at the next completion, which would lose its verdict."""
    body = """
limits = program.Limits(2.0, 5.0, 1 << 27)
attempt("run", lambda: program.run("def solution(text): return 3", "", limits).ending)
os.dup2(os.open("/dev/null", os.O_RDONLY), program._state.host._control.fileno())
try:
    program.run("def solution(text): return 3", "", limits)
except SystemExit as leaving:
    outcomes["lost"] = str(leaving)[:24]
"""
    assert attempted(tmp_path, body)[1] == {"run": "'returned'", "lost": "the program host is lost"}


def test_what_the_machine_offers_is_told_with_a_remedy():
    locks = confine.available()
    assert len({lock.name for lock in locks}) == len(locks) >= 4
    assert all(lock.is_in_force or lock.remedy for lock in locks)


def test_a_missing_library_names_its_package(monkeypatch: pytest.MonkeyPatch):
    def lost(*_: object, **__: object) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(seal.ctypes, "CDLL", lost)
    with pytest.raises(seal.SealError, match="apt-get install libseccomp2"):
        seal.build_filter(seal.ALLOW, [])
