"""How the tests of `ovrl eval --tasks` start it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ENVIRONMENT = Path(os.environ.get("OVRL_LMMS_EVAL", Path(__file__).parents[1] / ".lmms-eval"))
"""Where `make test-lmms` puts lmms-eval."""

Evaluate = Callable[..., subprocess.CompletedProcess[str]]


def command(benchmarks: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "ovrl.cli.main", "eval", *map(str, arguments), "--include-path", str(benchmarks)]


def variables() -> dict[str, str]:
    return os.environ | {"OVRL_LMMS_EVAL": str(ENVIRONMENT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
