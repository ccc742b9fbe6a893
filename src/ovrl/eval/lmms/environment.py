"""Find the environment that lmms-eval is installed in."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ovrl.errors import DependencyError, UsageError

VARIABLE = "OVRL_LMMS_EVAL"
"""Names the environment: its directory, its python, or its `lmms-eval` command."""

_PROBE = """
import importlib.metadata, importlib.util, json
spec = importlib.util.find_spec("lmms_eval")
print(json.dumps({"folder": spec.submodule_search_locations[0], "version": importlib.metadata.version("lmms-eval")}))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """A python that has lmms-eval."""

    python: Path
    folder: Path
    """Where the package `lmms_eval` lies."""
    version: str

    @property
    def tasks(self) -> Path:
        """Return the folder of the upstream task files."""
        return self.folder / "tasks"


def find(named: str | None) -> Environment:
    """Return the environment that is named, or else our own.

    Args:
        named: value of `OVRL_LMMS_EVAL`, if it is set.

    Raises:
        UsageError: it names something else.
        DependencyError: lmms-eval is not installed here, and none is named.
    """
    if named:
        return _probed(_python(Path(named).expanduser()), f"{VARIABLE}={named}")
    if importlib.util.find_spec("lmms_eval") is None:
        raise DependencyError("lmms-eval", "eval")
    return _probed(Path(sys.executable), "this environment")


def _python(path: Path) -> Path:
    """Return the python of an environment's directory, of a command in it, or the path itself."""
    if path.is_dir():
        return path / "bin" / "python"
    return path if path.name.startswith("python") else path.parent / "python"


def _probed(python: Path, name: str) -> Environment:
    """Return the environment of a python that has been asked.

    Raises:
        UsageError: it cannot be started, or has no lmms-eval.
    """
    remedy = f"{VARIABLE} names an environment in which `pip install lmms-eval` was done"
    try:
        done = subprocess.run([str(python), "-c", _PROBE], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{name}: {python} cannot be started ({error}); {remedy}") from error
    if done.returncode:
        raise UsageError(f"{name}: {python} has no lmms-eval; {remedy}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Environment(python, Path(found["folder"]), found["version"])
