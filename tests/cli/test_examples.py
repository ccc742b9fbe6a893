"""Every example of every help text is run as it is printed, in a folder where `ovrl demo demo --quick` has run."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovrl.cli import demo
from ovrl.cli.main import run

COMMANDS = {
    "rollout": "rollout",
    "score": "score",
    "curate": "curate",
    "train": "train",
    "eval": "evaluate",
    "report": "report",
    "warmup": "warmup",
    "doctor": "doctor",
    "data synth": "data",
    "data convert": "convert",
    "data check": "check",
    "data view": "view",
    "data stats": "stats",
    "config show": "config",
}
"""Command -> its module. `ovrl demo` is run by the fixture."""


def examples(command: str) -> tuple[str, ...]:
    return importlib.import_module(f"ovrl.cli.{COMMANDS[command]}").EXAMPLES


@pytest.mark.parametrize("command", [*COMMANDS, "demo"])
def test_every_help_shows_at_least_two_examples(command: str, capsys: pytest.CaptureFixture[str]):
    shown = demo.EXAMPLES if command == "demo" else examples(command)
    assert run([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert len(shown) >= 2
    for example in shown:
        assert f"\n    {example}\n" in out  # whole, on one line, so that it can be copied
        assert f"ovrl {command}" in example


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_run_as_printed(command: str, demo_directory: Path):
    """In order, since the second may use what the first has made; and again, since all can be resumed."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for example in (*examples(command), *examples(command)):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", example],
            cwd=demo_directory,
            env={**os.environ, "PATH": programs},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
