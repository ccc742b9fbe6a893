"""Settings that change with the step: a curve for each, bound to a numeric setting by its dotted name.

    schedules:
      optimizer.lr: {shape: cosine, points: [[0, 2.0e-6], [1000, 0]]}
      sampling.max_new_tokens: {shape: steps, points: [[0, 1024], [300, 4096]]}

The settings in force at a step are a pure function of the step: nothing is stored, a resumed run finds the same.
Before its first point a curve has the first value, after its last point the last one.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from ovrl.errors import UsageError
from ovrl.plugins import did_you_mean
from ovrl.settings import Settings, keys, leaf, validated
from ovrl.train.settings import TrainSettings

_FIXED = ("steps", "eta", "save_every", "keep_checkpoints", "batch.", "learner.", "score.")
"""What a run cannot change on its way: its length, what ledger and controller count by, how machines and workers are
set up."""


class Curve(Settings):
    """A value for each step, through points."""

    shape: Literal["constant", "linear", "cosine", "steps"] = "linear"
    """Between two points: a straight line, half a cosine wave, or the first one's value until the second."""
    points: tuple[tuple[int, float], ...] = Field(min_length=1)
    """[step, value], by rising step."""

    @model_validator(mode="after")
    def _ordered(self) -> "Curve":
        if self.shape == "constant" and len(self.points) != 1:
            raise ValueError("a constant has one point")
        if any(a >= b for (a, _), (b, _) in pairwise(self.points)):
            raise ValueError("the steps of the points must rise")
        return self

    def value(self, step: int) -> float:
        """Return the value at a step."""
        for (a, low), (b, high) in pairwise(self.points):
            if step < a:
                return low
            if step < b:
                part = (step - a) / (b - a)
                weight = {"linear": part, "cosine": (1 - math.cos(math.pi * part)) / 2, "steps": 0.0}[self.shape]
                return low + weight * (high - low)
        first, value = self.points[-1]
        return self.points[0][1] if step < first else value


class Schedule:
    """The curves of a run, checked."""

    def __init__(self, settings: TrainSettings) -> None:
        """Read `settings.schedules`.

        Raises:
            UsageError: a name is no numeric setting, or a curve passes through values that are not allowed.
        """
        self._settings = settings
        self._curves = {
            name: validated(Curve, given, f"train.schedules.{name}")
            for name, given in _leaves(settings.schedules).items()
        }
        for name, curve in self._curves.items():
            _check_name(settings, name)
            for step, _ in curve.points:
                self.at(step)

    def binds(self, name: str) -> bool:
        """Return whether a setting, by its dotted name, changes with the step."""
        return name in self._curves

    def at(self, step: int) -> TrainSettings:
        """Return the settings in force at a step; a setting of whole numbers is rounded."""
        if not self._curves:
            return self._settings
        values = self._settings.model_dump(exclude_unset=True)
        for name, curve in self._curves.items():
            *parents, last = name.split(".")
            branch = values
            for parent in parents:
                branch = branch.setdefault(parent, {})
            value = curve.value(step)
            branch[last] = round(value) if isinstance(_value(self._settings, name), int) else value
        try:
            return TrainSettings.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"train.schedules: at step {step}: {place}: {reason}".replace(": : ", ": ")) from error


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the curves by dotted name; settings files nest them at the dots."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and not {"shape", "points"} & set(value):
            found |= _leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _check_name(settings: TrainSettings, name: str) -> None:
    known = [key for key in keys(TrainSettings) if _is_number(_value(settings, key)) and not key.startswith(_FIXED)]
    if name.startswith("objective.options.") or name in known:
        return
    if name in keys(TrainSettings) and name.startswith(_FIXED):
        raise UsageError(f"train.schedules.{name}: a run cannot change this on its way")
    if name in keys(TrainSettings):
        raise UsageError(f"train.schedules.{name}: this is {_value(settings, name)!r}, and curves are for numbers")
    raise UsageError(f"train.schedules.{name}: no such setting.{did_you_mean(name, known)}")


def _value(settings: TrainSettings, name: str) -> Any:
    """Return the setting under a dotted name; None for an option of a recipe that was not given."""
    head, _, option = name.partition("objective.options.")
    return settings.objective.options.get(option) if not head and option else leaf(settings, name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
