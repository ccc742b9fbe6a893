"""Find a plug-in by name: a built-in of a table, an installed entry point, or `module:attribute`.

Names are strings that are loaded when used. A decorator would only know what has been imported, and
importing everything to know the names is what makes tools slow.
"""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovrl.errors import UsageError


def resolve(name: str, table: Mapping[str, str], kind: str) -> Any:
    """Return the object that `name` stands for.

    Args:
        name: a key of `table`, an entry point's name, `package.module:attribute` or `file.py:attribute`.
        table: built-in names, each with its `module:attribute`.
        kind: what is looked for, in the singular ("reward"); entry points live in `ovrl.<kind>s`.

    Raises:
        UsageError: nothing is called so, or it cannot be imported.
    """
    if name in table:
        return _load(table[name], kind)
    from importlib import metadata  # slow to import, and most runs name no plug-in

    installed = {entry.name: entry for entry in metadata.entry_points(group=f"ovrl.{kind}s")}
    if name in installed:
        return _load(installed[name].value, kind)
    if ":" in name:
        return _load(name, kind)
    known = [*table, *installed]
    raise UsageError(
        f"unknown {kind} {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}; "
        f"or give a path such as 'my_package.my_module:name' or 'my_file.py:name'."
    )


def file_digests(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each plug-in file (`file.py:name`) among settings: edited, it is another plug-in."""
    found: dict[str, str] = {}
    for value in values.values():
        if isinstance(value, Mapping):
            found |= file_digests(value)
        elif isinstance(value, str) and ".py:" in value:
            for name in together(value):
                if (path := Path(name.rpartition(":")[0])).is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def together(names: str) -> list[str]:
    """Return the names in `a+b`; the path of one plug-in file may hold a `+` itself."""
    if Path(names.rpartition(":")[0]).is_file():
        return [names]
    return [name.strip() for name in names.split("+")]


def did_you_mean(name: str, known: list[str]) -> str:
    """Return " Did you mean 'x'?", or "" when nothing is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _load(target: str, kind: str) -> Any:
    place, _, attribute = target.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise UsageError(f"cannot import the {kind} {target!r}: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        raise UsageError(f"the {kind} {target!r} does not exist: {place} has no {attribute!r}")
    return getattr(module, attribute)


def _load_file(path: Path) -> Any:
    name = f"ovrl_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that spawned workers can pickle what the file defines
    spec.loader.exec_module(module)
    return module
