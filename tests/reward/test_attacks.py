"""Every attack of the corpus through the real workers: nothing hangs, is read, called, changed or left behind."""

import functools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ovrl.records import Question, Score
from ovrl.reward import format as form
from ovrl.reward import program
from ovrl.reward.outcome import Mode
from ovrl.reward.pool import ScorePool
from ovrl.reward.settings import ScoreSettings

CORPUS = Path(__file__).parents[3] / "shared" / "conformance" / "attacks.jsonl"
MEMORY = 512 << 20
SECRET = "CANARY-SECRET-4711"
NORMAL = Question(answer=("7",), answer_type="number"), "<answer>7</answer>"
LONG_AGO = 1_000_000_000

# Programs that "print a guess and leave" are paid by the original, and so by `ov15`.
PAID_BY_OV15 = {"code: os._exit", "code: replace stdout", "code: input injection (data set)"}

FREE = {"ocr: list with None"}
"""Whether a null among the golds spoils the others is for the reader of lines to say; here it is left out."""

NULLS: dict[str, str] = {
    "code: slow but within limit x 40": "timeout",  # in both modes; a machine twice as fast may come to its end
    "bbox: gold is not text": "invalid_gold",
    "bbox redos: gold side": "invalid_gold",  # the corpus has 0; the gold is no box, which says nothing of the answer
}
"""Attacks that may have a null reward, and why. All others get the corpus' figure."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CORPUS.exists(), reason=f"no corpus at {CORPUS}")]


@dataclass(slots=True)
class Traps:
    """What an attack would touch."""

    canary: Path
    victim: Path
    listener: socket.socket

    def filled(self, text: str) -> str:
        port = str(self.listener.getsockname()[1])
        return text.replace("@CANARY@", str(self.canary)).replace("@VICTIM@", str(self.victim)).replace("@PORT@", port)

    def check(self) -> None:
        self.listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            self.listener.accept()
        assert [path.name for path in self.victim.iterdir()] == ["kept"]
        assert (self.victim / "kept").read_text() == "kept"
        if tells_reading(self.victim / "kept"):
            for path in self.canary.iterdir():
                assert path.stat().st_atime == LONG_AGO, f"{path.name} was read"


def tells_reading(path: Path) -> bool:
    """Return whether this file system notes when a file is read."""
    os.utime(path, (LONG_AGO, LONG_AGO))
    path.read_text()
    return path.stat().st_atime != LONG_AGO


@pytest.fixture
def traps(tmp_path: Path) -> Iterator[Traps]:
    canary, victim = tmp_path / "canary", tmp_path / "victim"
    canary.mkdir()
    victim.mkdir()
    tmp_path.chmod(0o755)
    victim.chmod(0o777)
    (victim / "kept").write_text("kept")
    (canary / "secret.txt").write_text(SECRET)
    (canary / "evil.dtd").write_text(f'<!ENTITY x "{SECRET}">')
    (canary / "secret.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><text>{SECRET}</text></svg>'
    )
    Image.new("RGB", (64, 64), "red").save(canary / "secret.png")
    for path in canary.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Traps(canary, victim, listener)


@functools.cache
def attacks() -> list[dict[str, Any]]:
    return [json.loads(line) for line in CORPUS.read_text().splitlines()]


def spelled(attack: dict[str, Any], name: str) -> list[str]:
    """Return the texts of a field: long ones are written as repetitions, a gold may be a number or a list."""
    spec = attack.get(f"{name}_spec")
    value = "".join(text * times for text, times in spec) if spec else attack[name]
    return [str(text) for text in (value if isinstance(value, list) else [value]) if text is not None]


def posed(attack: dict[str, Any], traps: Traps) -> tuple[Question, str]:
    question = Question(
        answer=tuple(map(traps.filled, spelled(attack, "answer"))),
        answer_type=attack["answer_type"],
        problem_type=attack.get("problem_type") or "general",
    )
    return question, traps.filled("".join(spelled(attack, "response")))


@dataclass(slots=True)
class Census:
    """Watches all processes below this one; the kernel keeps the highest memory of each."""

    peaks: dict[int, int] = field(default_factory=dict[int, int])
    is_over: bool = False

    def look(self) -> None:
        mine = Path("/proc/self/cmdline").read_bytes()
        for pid in below(os.getpid()):
            try:
                # Between fork and exec a child still has the memory of the tests themselves.
                if Path(f"/proc/{pid}/cmdline").read_bytes() == mine:
                    continue
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            peak = next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)
            self.peaks[pid] = max(peak, self.peaks.get(pid, 0))

    def keep_looking(self) -> None:
        while not self.is_over:
            self.look()
            time.sleep(0.02)


def below(pid: int) -> Iterator[int]:
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listing.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, children):
            yield child
            yield from below(child)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def scored(items: list[tuple[Question, str]], mode: Mode) -> list[Score]:
    """Score as `ovrl train` and `ovrl score` do, with the limits that a user gets."""
    with ScorePool(ScoreSettings(mode=mode, workers=2)) as pool:
        return [timed.verdict.score for timed in pool.judge(iter(items))]


@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_no_attack_does_harm(traps: Traps, mode: Mode):
    chosen = [attack for attack in attacks() if attack["answer_type"] != "format"]
    assert len(chosen) == 218
    before = set(below(os.getpid()))
    census = Census()
    watcher = threading.Thread(target=census.keep_looking)
    watcher.start()
    try:
        # A normal record after each attack.
        scores = scored([item for attack in chosen for item in (posed(attack, traps), NORMAL)], mode)
    finally:
        census.is_over = True
        watcher.join()
    traps.check()
    assert {attack["name"] for attack, score in zip(chosen, scores[1::2], strict=True) if score.reward != 1.0} == set()
    wrong: dict[str, Any] = {}
    for attack, score in zip(chosen, scores[::2], strict=True):
        assert SECRET not in f"{score.extracted} {score.note}"
        if score.reward is None:
            needs_seal = attack["answer_type"] == "general-code" and program.missing() is not None
            is_fine = score.status == ("unsupported" if needs_seal else NULLS.get(attack["name"]))
        else:
            is_free = attack["name"] in (FREE if mode == "strict" else FREE | PAID_BY_OV15)
            want = None if is_free else attack["expected_reward"]
            is_fine = 0.0 <= score.reward <= 1.5 if want is None else abs(score.reward - want) < 0.01
        if not is_fine:
            wrong[attack["name"]] = (score.reward, score.status, score.note, attack["expected_reward"])
    assert wrong == {}
    new = {pid: peak for pid, peak in census.peaks.items() if pid not in before}
    assert new
    assert max(new.values()) < MEMORY
    deadline = time.monotonic() + 60
    while left := [pid for pid in new if runs(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_attacks_on_the_format_reward(mode: Mode):
    chosen = [attack for attack in attacks() if attack["answer_type"] == "format"]
    assert len(chosen) == 3
    for attack in chosen:
        reward = form.reward("".join(spelled(attack, "response")), mode)
        assert reward == (attack["expected_reward"] or 0.0)
