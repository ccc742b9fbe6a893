"""Running `ovrl` in this process and in others, and reading what it wrote."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 240.0
"""Seconds after which a process that should have ended or written something has failed. A busy machine needs many."""


@dataclass
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line that says why; fails when there are several, or a traceback."""
        assert "Traceback" not in self.err, self.err
        errors = [line for line in self.err.splitlines() if line.startswith("ovrl:")]
        assert len(errors) == 1, self.err
        return errors[0]


Cli = Callable[..., Result]


@dataclass
class Started:
    """Commands in processes of their own; only these are ever killed."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start `ovrl` in a process group of its own, as a shell does, so that a signal can reach all of it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "ovrl", *map(str, arguments)],
            cwd=self.folder,
            process_group=0,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )
        self.processes.append(process)
        return process

    def finish(self, *arguments: object, **options: Any) -> Result:
        process = self.start(*arguments, **options)
        return self.result(process)

    @staticmethod
    def result(process: subprocess.Popen[bytes]) -> Result:
        out, err = process.communicate(timeout=PATIENCE)
        return Result(process.returncode, (out or b"").decode(), (err or b"").decode())

    def stop_when(self, process: subprocess.Popen[bytes], ready: Callable[[], bool], number: int) -> Result:
        """Send the signal to the whole group as soon as `ready`, as a terminal does with Ctrl-C."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert process.poll() is None, Started.result(process)
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.01)
        os.killpg(process.pid, number)
        return self.result(process)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
