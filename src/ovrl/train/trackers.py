"""Metrics for tensorboard, wandb or trackio, where they are asked for; `metrics.jsonl` is written always."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovrl.errors import DependencyError, UsageError
from ovrl.plugins import did_you_mean

Tracker = Callable[[int, Mapping[str, float]], None]
"""Takes the number of a step and its figures."""

_PROJECT = "ovrl"


def _tensorboard(run: Path, config: Mapping[str, Any]) -> Tracker:
    writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(run / "tensorboard"))
    writer.add_text("settings", str(dict(config)), 0)

    def log(step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log


def _wandb(run: Path, config: Mapping[str, Any]) -> Tracker:
    wandb = importlib.import_module("wandb")
    name = run.resolve().name
    wandb.init(project=_PROJECT, name=name, id=name, resume="allow", dir=str(run), config=dict(config))
    return lambda step, figures: wandb.log(dict(figures), step=step)


def _trackio(run: Path, config: Mapping[str, Any]) -> Tracker:
    trackio = importlib.import_module("trackio")
    trackio.init(project=_PROJECT, name=run.resolve().name, resume="allow", config=dict(config))
    return lambda step, figures: trackio.log(dict(figures), step=step)


TRACKERS = {"tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio}


def check(names: Sequence[str]) -> None:
    """Raise before any work when a tracker is unknown or not installed.

    Raises:
        UsageError: there is no such tracker.
        DependencyError: it is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UsageError(
                f"no such tracker {name!r}.{did_you_mean(name, list(TRACKERS))} Known: {', '.join(TRACKERS)}"
            )
        if importlib.util.find_spec(name) is None:
            raise DependencyError(name, "track")


def open_trackers(names: Sequence[str], run: Path, config: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that tells the trackers of a step's metrics.

    Args:
        names: of the trackers.
        run: the run directory, whose name the run gets.
        config: the settings.
    """
    check(names)
    trackers = [TRACKERS[name](run, config) for name in names]

    def tell(line: Mapping[str, Any]) -> None:
        figures = dict(numbers(line))
        for tracker in trackers:
            tracker(line["step"], figures)

    return tell


def numbers(line: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Return the numbers of a line by name; those of nested mappings as "outer/inner"."""
    found: list[tuple[str, float]] = []
    for name, value in line.items():
        if isinstance(value, Mapping):
            found += numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found.append((f"{prefix}{name}", float(value)))
    return found
