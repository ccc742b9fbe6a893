"""Settings in layers: defaults < preset < files (left to right) < `OVRL_*` < `-s` < flags.

Each section is a frozen pydantic class that stands beside the code that reads it; this module knows no
setting by name. Every value remembers where it came from.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from ovrl.errors import UsageError

RESERVED_VARIABLES = frozenset(
    {"OVRL_CACHE", "OVRL_CONFIG", "OVRL_SEED", "OVRL_SGLANG", "OVRL_SGLANG_URL", "OVRL_LMMS_EVAL"}
)
"""Variables that are no settings of a section: places, programs, and the seed, which is that of `--seed`."""


class Settings(BaseModel):
    """Base of every section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that change speed and not results; they may differ when a run is resumed."""

    def result_fields(self) -> dict[str, Any]:
        """Return the values that decide the result, as JSON values; nested sections leave out their own."""
        return {name: value for name, value in self._fields("result_fields") if name not in self.machine_fields}

    def speed_fields(self) -> dict[str, Any]:
        """Return the values that only decide speed."""
        nested = {name: value for name, value in self._fields("speed_fields") if isinstance(value, dict) and value}
        own = self.model_dump(mode="json", include=set(self.machine_fields))
        return {name: value for name, value in nested.items() if name not in self.machine_fields} | own

    def _fields(self, part: str) -> list[tuple[str, Any]]:
        plain = self.model_dump(mode="json")
        found: list[tuple[str, Any]] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            found.append((name, getattr(value, part)() if isinstance(value, Settings) else plain[name]))
        return found


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Value:
    """One given value and its origin ("ovrl.yaml:3", "OVRL_TRAIN__LR", "-s", "--lr")."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Resolved(Generic[S]):
    """A validated section, and for each of its dotted keys where the value came from."""

    value: S
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Layers:
    """What the user gave, before it is known which section is asked for. Keys are dotted."""

    values: Mapping[str, Value]

    @staticmethod
    def gather(
        files: Iterable[Path] = (),
        assignments: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "Layers":
        """Read files, variables and `-s a.b=c` assignments; later ones win.

        Raises:
            UsageError: a file cannot be read or is not a mapping, or an assignment has no `=`.
        """
        values: dict[str, Value] = {}
        for path in files:
            values.update(_read_yaml(path))
        values.update(_read_environment(os.environ if environment is None else environment))
        for text in assignments:
            key, equals, raw = text.partition("=")
            if not equals or not key.strip():
                raise UsageError(f"-s {text!r}: give key=value, such as train.lr=1e-6")
            values[key.strip()] = Value(_scalar(raw, f"-s {text}"), "-s")
        return Layers(values)

    def check_sections(self, sections: Mapping[str, type[Settings]]) -> None:
        """Raise for a key outside every section, so that a typo is never ignored.

        Raises:
            UsageError: naming the key, its origin and the nearest known key.
        """
        for key, given in self.values.items():
            head, _, rest = key.partition(".")
            if head in sections and _knows(sections[head], rest):
                continue
            known = [f"{name}.{leaf}" for name, section in sections.items() for leaf in keys(section)]
            raise UsageError(f"{given.origin}: no such setting {key!r}.{_suggest(key, known)}")

    def resolve(
        self, section: str, model: type[S], *, preset: Mapping[str, Any] | None = None, **flags: Any
    ) -> Resolved[S]:
        """Return the validated section.

        Args:
            section: its name, the first part of the dotted keys.
            model: its class.
            preset: values laid over the defaults, with their origin under the key "".
            flags: values of command-line flags by dotted key ("__" for "."); None means not given.

        Raises:
            UsageError: a key is unknown or a value is not allowed; names key, origin and remedy.
        """
        given: dict[str, Value] = {}
        if preset:
            origin = f"preset {preset.get('', '')}".strip()
            given.update({k: Value(v, origin) for k, v in _flatten(preset).items() if k})
        prefix = f"{section}."
        given.update({k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)})
        given.update(
            {
                name.replace("__", "."): Value(value, f"--{name.rpartition('__')[2].replace('_', '-')}")
                for name, value in flags.items()
                if value is not None
            }
        )
        known = keys(model)
        for key, entry in given.items():
            if not _knows(model, key):
                raise UsageError(f"{entry.origin}: no such setting {prefix + key!r}.{_suggest(key, known)}")
        try:
            value = model.model_validate(_nest({key: entry.value for key, entry in given.items()}))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function"))
            origin = next((e.origin for k, e in given.items() if key == k or key.startswith(f"{k}.")), "defaults")
            got = f" (got {first['input']!r})" if not isinstance(first["input"], dict) else ""
            raise UsageError(f"{origin}: {prefix}{key}: {first['msg'].removeprefix('Value error, ')}{got}") from error
        return Resolved(value, {key: given[key].origin if key in given else "default" for key in known})


def validated(model: type[S], values: Any, where: str) -> S:
    """Return settings made of values that no layer gave, such as those in a mapping that is a setting itself.

    Args:
        model: their class.
        values: as they were written.
        where: dotted name of the place, for the error.

    Raises:
        UsageError: a key is unknown or a value is not allowed.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        raise UsageError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def keys(model: type[Settings]) -> list[str]:
    """Return the dotted keys of a section, nested sections included."""
    found: list[str] = []
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Settings):
            found += [f"{name}.{leaf}" for leaf in keys(inner)]
        else:
            found.append(name)
    return found


def _knows(model: type[Settings], key: str) -> bool:
    """Whether a section has a key; below a mapping, such as `weights`, any name goes."""
    if key in keys(model):
        return True
    name, _, rest = key.partition(".")
    inner = model.model_fields[name].annotation if name in model.model_fields else None
    if isinstance(inner, type) and issubclass(inner, Settings):
        return _knows(inner, rest)
    return bool(rest) and get_origin(inner) is dict


def leaf(settings: Settings, key: str) -> Any:
    """Return the value under a dotted key."""
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def read_preset(path: Path) -> dict[str, Any]:
    """Return a preset's values as a nested mapping, its name under the key ""."""
    import yaml  # here and below: slow to import, and most commands are given no file

    return {"": path.stem, **yaml.safe_load(path.read_text())}


def _suggest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not near:
        tails = {name.rpartition(".")[2]: name for name in known}
        near = [tails[tail] for tail in difflib.get_close_matches(key.rpartition(".")[2], list(tails), n=1)]
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}"


def _read_yaml(path: Path) -> dict[str, Value]:
    """Return the dotted keys of a YAML file, each with the line that it stands on."""
    import yaml

    try:
        node = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    values: dict[str, Value] = {}

    def walk(node: yaml.Node, prefix: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"{path}:{node.start_mark.line + 1}: a mapping `key: value` is expected")
        for key_node, value_node in node.value:
            key = f"{prefix}{key_node.value}"
            if isinstance(value_node, yaml.MappingNode):
                walk(value_node, f"{key}.")
            else:
                where = f"{path}:{key_node.start_mark.line + 1}"
                values[key] = Value(_scalar(yaml.serialize(value_node), where), where)

    if node is not None:
        walk(node, "")
    return values


def _read_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    """Return the settings among the variables: OVRL_TRAIN__LR is train.lr."""
    return {
        name.removeprefix("OVRL_").lower().replace("__", "."): Value(_scalar(raw, name), name)
        for name, raw in sorted(environment.items())
        if name.startswith("OVRL_") and name not in RESERVED_VARIABLES
    }


def _scalar(raw: str, where: str) -> Any:
    import yaml

    try:
        return _number(yaml.safe_load(raw)) if raw else ""
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not a YAML value") from error


def _number(value: Any) -> Any:
    """Return 1e-6 as a number: YAML 1.1 wants 1.0e-6, and nobody writes that."""
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() else value
        except ValueError:
            return value
    return value


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return tree
