"""Settings of `ovrl curate`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from ovrl.settings import Settings

Rule = Literal["default", "paper", "gap", "band"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PassThresholds(Settings):
    """Accuracy at or above which a completion counts as correct, by answer type."""

    bbox: Share = 0.5
    """Intersection over union; 0.5 is the usual hit of grounding benchmarks."""
    ocrtext: Share = 0.5
    html_code: Share = 0.5
    svg_code: Share = 0.5
    others: Share = 1.0
    """Types whose accuracy is 0 or 1."""

    def of(self, answer_type: str) -> float:
        """Return the threshold of an answer type, written as in the records (`html-code`)."""
        graded = {
            "bbox": self.bbox,
            "ocrtext": self.ocrtext,
            "html-code": self.html_code,
            "svg-code": self.svg_code,
        }
        return graded.get(answer_type, self.others)


class CurateSettings(Settings):
    """`ovrl curate`."""

    rule: Rule = "default"
    """gap: pass@k - pass@1 is large. band: the mean reward is inside the window, the original's rule.
    paper: gap, then band. default: paper, corrected for guessing."""
    k: PositiveInt | None = None
    """k of pass@k; None: half of the completions of a sample, at least 2. With n < 2k the estimate is
    little more than "was there one lucky hit"."""
    min_gap: Share = 0.1
    """Keep where the gap is at least this."""
    band: tuple[float, float] = (0.0, 0.6)
    """Keep where the mean reward is strictly between; (-1, 2) switches it off."""
    pass_threshold: PassThresholds = PassThresholds()
    max_error_rate: Share = 0.25
    """More completions without a score than this, and the sample is dropped: nothing is known of it."""
    correct_chance: bool = True
    """Whether `default` corrects for guessing; the other rules never do."""
    stage2_replay: Share = 0.05
    """Share of the stage-1 rows that stage 2 repeats, answer-only as they are. The original's stage 2
    holds about 4.4% such rows."""

    @field_validator("band")
    @classmethod
    def _ordered(cls, band: tuple[float, float]) -> tuple[float, float]:
        if band[0] >= band[1]:
            raise ValueError("the lower bound must be below the upper bound")
        return band
