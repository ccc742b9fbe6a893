"""What an output was made from: command, settings, inputs, versions, counts, times."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ovrl import __version__
from ovrl.errors import UsageError

MANIFEST = "manifest.json"
"""Its name inside a directory; beside a file it follows that name."""

SCHEMA = "ovrl.manifest/1"
_PACKAGES = ("torch", "transformers", "accelerate", "deepspeed", "sglang", "math-verify", "pillow", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What decides the content of an output. Two runs with equal identities may continue each other."""

    command: str
    settings: Mapping[str, Any]
    """Resolved settings that change the result; those that only change speed are left out."""
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Path -> {"sha256", "rows"}, as `describe` gives it."""
    seed: int
    limited: bool = False
    """Whether --limit or --shard left part of the input out."""
    argv: Sequence[str] = field(default_factory=lambda: ("ovrl", *sys.argv[1:]))
    """The command line, so that it can be given again."""
    machine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Settings that only change speed; recorded, and free to change on resume."""


def describe(path: Path) -> dict[str, Any]:
    """Return {"sha256", "rows"} of a file, or of all data files below a directory, names included.

    Rows are counted in JSON lines and parquet, and None elsewhere.

    Raises:
        UsageError: the path does not exist.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if not (path.is_dir() or path.is_file()):
        return {"sha256": None, "rows": None}  # a pipe, such as <(command): reading it here would use it up
    if not path.is_dir():
        with path.open("rb") as stream:
            return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "rows": count_rows(path)}
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _is_own(file))
    return describe_together({str(file.relative_to(path)): file for file in files})


def describe_together(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return {"sha256", "rows"} of several files as one, in order; the names are part of the digest.

    A file whose rows cannot be counted is described by its bytes alone: reading it says what is wrong.
    """
    digest, rows = hashlib.sha256(), None
    for name, file in files.items():
        digest.update(name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").hexdigest().encode())
        try:
            count = count_rows(file)
        except UsageError:
            continue
        if count is not None:
            rows = (rows or 0) + count
    return {"sha256": digest.hexdigest(), "rows": rows}


def _is_own(file: Path) -> bool:
    return file.name.startswith((".", "_")) or file.name == MANIFEST


def count_rows(path: Path) -> int | None:
    """Return how many rows a file of JSON lines or parquet has; None for any other.

    Raises:
        UsageError: the parquet file cannot be read.
    """
    if path.suffix == ".jsonl":
        with path.open("rb") as stream:
            return sum(1 for line in stream if line.strip())
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq  # slow to import, and most commands read no parquet

        try:
            return int(pq.read_metadata(path).num_rows)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} is not a parquet file that can be read: {error}") from error
    return None


def begin(identity: Identity, earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the manifest of a run that starts, or goes on from `earlier`."""
    now = _now()
    return {
        "schema": SCHEMA,
        "command": identity.command,
        "argv": list(identity.argv),
        "directory": str(Path.cwd()),
        "settings": dict(identity.settings),
        "machine_settings": dict(identity.machine),
        "seed": identity.seed,
        "inputs": dict(identity.inputs),
        "limited": identity.limited,
        "outputs": {},
        "counts": {},
        "ovrl_version": __version__,
        "git": _git_commit(),
        "python": platform.python_version(),
        "packages": _versions(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count()},
        "started": earlier["started"] if earlier else now,
        "resumed": [*earlier.get("resumed", ()), now] if earlier else [],
        "finished": None,
    }


def end(record: dict[str, Any], counts: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    """Fill in what is known when the work is done; `outputs` are names with their digest and rows."""
    record["counts"] = dict(counts)
    record["outputs"] = dict(outputs)
    record["finished"] = _now()


def read(path: Path) -> dict[str, Any]:
    """Return a manifest that `begin` made.

    Raises:
        UsageError: the file is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UsageError(f"{path} was not written by ovrl; choose another output")
    return found


def refuse_changes(earlier: Mapping[str, Any], identity: Identity, where: str) -> None:
    """Raise unless `earlier` was made from the same things.

    Raises:
        UsageError: naming each setting or input that differs, with both values.
    """
    differences = [
        f"{name}: {old!r} -> {new!r}"
        for name, old, new in (
            ("command", earlier["command"], identity.command),
            ("seed", earlier["seed"], identity.seed),
            *_pairs("", earlier["settings"], identity.settings),
        )
        if old != new
    ]
    old_digests, new_digests = _digests(earlier["inputs"]), _digests(identity.inputs)
    if sorted(old_digests) != sorted(new_digests):
        changed = [name for name in identity.inputs if identity.inputs[name]["sha256"] not in old_digests]
        differences.append(f"the content of {', '.join(changed or earlier['inputs'])}")
    if differences:
        shown = "; ".join(differences[:4]) + (" ..." if len(differences) > 4 else "")
        raise UsageError(
            f"{where} was begun with something else ({shown}); give --overwrite to start again, "
            "or choose another output"
        )


def _digests(inputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [str(entry["sha256"]) for entry in inputs.values()]


def _pairs(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (dotted name, old, new) for each leaf of two nested mappings."""
    pairs: list[tuple[str, Any, Any]] = []
    for key in sorted(set(old) | set(new)):
        left, right = old.get(key), new.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            pairs += _pairs(f"{prefix}{key}.", left, right)
        else:
            pairs.append((f"{prefix}{key}", _plain(left), _plain(right)))
    return pairs


def _plain(value: Any) -> Any:
    """Return the value as JSON would give it back."""
    return list(value) if isinstance(value, tuple) else value


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """Return the commit of the checkout that ovrl runs from, or None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    result = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
