"""How the tests of `ovrl eval --tasks` start it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ENVIRONMENT = Path(os.environ.get("OVRL_LMMS_EVAL", "no environment"))
"""Where lmms-eval is; `make test-lmms` makes one and says so."""

Evaluate = Callable[..., subprocess.CompletedProcess[str]]


def command(benchmarks: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "ovrl.cli.main", "eval", *map(str, arguments), "--include-path", str(benchmarks)]


def variables() -> dict[str, str]:
    return os.environ | {"OVRL_LMMS_EVAL": str(ENVIRONMENT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
