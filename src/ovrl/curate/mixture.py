"""Target composition of the two stages: a preset or a YAML file, checked.

    by: problem_type                       # or source, answer_type
    stage1:
      size: 19900                          # rows; without it, as many as the shares allow
      shares: {grounding: 0.8, ocr: 0.2}   # or  quotas: {grounding: 500, ocr: 100}
    stage2:
      size: 49200
      shares: {stem: 0.956}
      replay: 0.044                        # share of its rows that repeat stage 1, or {grounding: 0.03, ...}

A stage that is left out keeps everything. A group that is not named is left out of its stage.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from ovrl.curate.settings import Share, Stratum
from ovrl.errors import UsageError

Shares = Annotated[dict[str, Share], Field(min_length=1)]

_TOLERANCE = 0.005  # printed percentages add up to 99.9 or 100.2


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageTarget(_Checked):
    """What one stage shall hold: a size with shares, or quotas."""

    size: PositiveInt | None = None
    """Rows, repeated ones included."""
    shares: Shares | None = None
    """Group -> share of the stage's rows."""
    quotas: dict[str, NonNegativeInt] | None = None
    """Group -> rows."""
    replay: Share | dict[str, Share] | None = None
    """Share of the rows that repeat stage 1; stage 2 only. None: the setting `stage2_replay` holds."""

    @property
    def replay_share(self) -> float:
        """Return the share of all repeated rows."""
        return sum(self.replay.values()) if isinstance(self.replay, dict) else self.replay or 0.0

    @model_validator(mode="after")
    def _consistent(self) -> "StageTarget":
        if (self.shares is None) == (self.quotas is None):
            raise ValueError("give either shares or quotas")
        if self.quotas is not None and self.size is not None:
            raise ValueError("quotas need no size: they are rows")
        if self.replay_share >= 1.0:
            raise ValueError("replay must leave room for the stage's own rows")
        if self.shares is not None:
            total = sum(self.shares.values()) + self.replay_share
            if abs(total - 1.0) > _TOLERANCE:
                raise ValueError(f"shares and replay must add up to 1, not {total:g}")
        return self


class Mixture(_Checked):
    """The target composition of both stages."""

    by: Stratum = "problem_type"
    stage1: StageTarget | None = None
    stage2: StageTarget | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Mixture":
        if self.stage1 is None and self.stage2 is None:
            raise ValueError("neither stage1 nor stage2 is given")
        if self.stage1 is not None and self.stage1.replay is not None:
            raise ValueError("stage1 has nothing to replay; replay belongs to stage2")
        return self

    def stage(self, number: int) -> StageTarget | None:
        """Return the target of stage 1 or 2."""
        return self.stage1 if number == 1 else self.stage2


def presets() -> dict[str, Any]:
    """Return name -> file of the mixtures that come with ovrl."""
    folder = resources.files("ovrl.curate").joinpath("mixtures")
    return {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}


def load(name: str) -> Mixture:
    """Return the mixture of a preset or a YAML file.

    Raises:
        UsageError: there is no such preset or file, or it says something that cannot be.
    """
    known = presets()
    try:
        text = known[name].read_text() if name in known else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--mixture {name}: neither a preset ({', '.join(sorted(known))}) nor a file that can be read"
        ) from error
    try:
        return Mixture.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--mixture {name}: {where + ': ' if where else ''}{said}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--mixture {name} is not YAML: {' '.join(str(error).split())}") from error
