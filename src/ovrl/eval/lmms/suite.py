"""The benchmarks that ovrl knows by name, from `suite.yaml`; every other name is an lmms-eval task as it is."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ovrl.errors import UsageError

_FILE = Path(__file__).with_name("suite.yaml")
TASKS = Path(__file__).with_name("tasks")
"""Task files of benchmarks that lmms-eval does not have."""


_PRINTED = "printed averages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One row of the table."""

    name: str
    task: str
    """The upstream task."""
    title: str
    group: str
    metric: str | None = None
    """Its key in the results file; None: the only metric of the task."""
    scale: float = 1.0
    """What the metric is when all is right: 1, or 100 if it is in percent."""
    published: tuple[float, float, float] | None = None
    """Percent, LLaVA-OneVision-1.5 8B: base, RL thinking, RL fast."""
    unverified: str | None = None
    """What has not been tried of it; the command says so."""


@cache
def suite() -> dict[str, Benchmark]:
    """Return the benchmarks by name: those of the published table in its order, then further ones."""
    return {
        name: Benchmark(name=name, group=group, **row | {"published": _triple(row.get("published"))})
        for group, rows in _groups().items()
        for name, row in rows.items()
        if name != _PRINTED
    }


def _triple(values: list[float] | None) -> tuple[float, float, float] | None:
    return None if values is None else (values[0], values[1], values[2])


def printed_averages() -> dict[str, tuple[float, float, float]]:
    """Return the averages that are printed below the rows of each group, in percent: base, thinking, fast."""
    return {group: printed for group, rows in _groups().items() if (printed := _triple(rows.get(_PRINTED)))}


@cache
def _groups() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(_FILE.read_text(encoding="utf-8"))


def choose(names: str) -> list[Benchmark]:
    """Return the benchmarks of a comma-separated list; `all` stands for the published table.

    A name that the table does not have is taken for an lmms-eval task; whether there is one is seen later,
    where lmms-eval is installed.

    Raises:
        UsageError: the list is empty, or names one twice.
    """
    known = suite()
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise UsageError(f"--tasks {names!r} names no benchmark; known are all, {', '.join(known)}")
    table = [name for name, row in known.items() if row.published]
    wanted = [one for name in wanted for one in (table if name == "all" else (name,))]
    if double := next((name for name in wanted if wanted.count(name) > 1), None):
        raise UsageError(f"--tasks names {double} twice")
    return [known.get(name) or Benchmark(name=name, task=name, title=name, group="Given") for name in wanted]


def unknown(task: str, tasks: Iterable[str]) -> UsageError:
    """Return the error for a task that lmms-eval does not have."""
    near = difflib.get_close_matches(task, [*suite(), *tasks], 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return UsageError(f"--tasks: neither ovrl nor lmms-eval has a task {task!r}{hint}")
