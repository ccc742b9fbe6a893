"""Read lmms-eval's task files: YAML with `include` and `!function`, without importing what they name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ovrl.errors import UsageError

_TASK = re.compile(rb"""^task:[ \t]*["']?([\w.+-]+)["']?[ \t]*(?:#.*)?$""", re.MULTILINE)
_INCLUDE = re.compile(rb"""^include:[ \t]*["']?([\w.+-]+)["']?[ \t]*$""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FunctionName:
    """`!function utils.doc_to_text` in a file of `folder`."""

    folder: str
    name: str


class _Loader(yaml.SafeLoader):
    """Knows `!function`; the folder of the file is set for each."""

    folder = ""


def _function(loader: _Loader, node: yaml.ScalarNode) -> FunctionName:
    return FunctionName(loader.folder, str(loader.construct_scalar(node)))


_Loader.add_constructor("!function", _function)


@cache
def index(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the file of each task below the folders; a later folder goes before an earlier one."""
    found: dict[str, Path] = {}
    for folder in folders:
        files = sorted(folder.rglob("*.y*ml"))
        own = {file: _TASK.findall(file.read_bytes()) for file in files}
        for file in sorted(files, key=lambda file: bool(own[file])):  # a name of its own goes before an included one
            for name in own[file] or _included(file):
                found[name.decode()] = file
    return found


def _included(file: Path) -> list[bytes]:
    """Return the name of the task that stands in a file which this one includes."""
    included = _INCLUDE.search(file.read_bytes())
    other = file.parent / included[1].decode() if included else None
    return _TASK.findall(other.read_bytes()) if other is not None and other.is_file() else []


def read(file: Path) -> dict[str, Any]:
    """Return the fields of a task file, those of the files that it includes under its own.

    Raises:
        UsageError: it is no task file.
    """
    loader = _Loader(file.read_text(encoding="utf-8"))
    loader.folder = str(file.parent)
    try:
        own = loader.get_single_data()
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not a task file of lmms-eval: {error}") from error
    finally:
        loader.dispose()
    if not isinstance(own, dict):
        raise UsageError(f"{file} is not a task file of lmms-eval")
    included = own.pop("include", [])
    merged: dict[str, Any] = {}
    for name in reversed([included] if isinstance(included, str) else included):
        merged |= read(Path(name) if Path(name).is_file() else file.parent / name)
    return merged | own
