"""Settings of `ovrl curate`."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from ovrl.settings import Settings

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Stratum = Literal["source", "answer_type", "problem_type"]

RULES = ("default", "paper", "pass-count", "gap", "band")
"""What `rule` may name, one or several joined by "+"."""


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


class SelectionSettings(Settings):
    """Which of the samples that pass the rule are taken."""

    size: PositiveInt | None = None
    """Samples to keep at most; None keeps all. With a mixture, its sizes are scaled to this."""
    by: Stratum | None = None
    """Sample each value of this field in proportion to its share of what passes the rule."""
    weight: Literal["uniform", "gap", "variance"] = "uniform"
    """What makes a sample likelier to be taken: nothing, pass@k - pass@1, or p (1 - p)."""
    mixture: str | None = None
    """A preset (`ov15`) or a YAML file with sizes, quotas or target proportions for each stage."""


class CurateSettings(Settings):
    """`ovrl curate`."""

    rule: str = "default"
    """gap: pass@k - pass@1 is large. band: the mean reward is inside the window, the original's rule.
    pass-count: the number of correct completions is inside a window. paper: gap+band. default: gap+band,
    both corrected for guessing. Several are joined by "+", in any order: pass-count+gap."""
    k: PositiveInt | None = None
    """k of pass@k; None: half of the completions of a sample, at least 2. With n < 2k the estimate is
    little more than "was there one lucky hit"."""
    min_gap: Share = 0.1
    """Keep where the gap is at least this."""
    band: tuple[float, float] = (0.0, 0.6)
    """Keep where the mean reward is strictly between; (-1, 2) switches it off."""
    pass_count: tuple[NonNegativeInt, NonNegativeInt] = (1, 7)
    """Keep where so many completions are correct, both ends included; 1 to 7 of 16 is MedVLThinker's."""
    pass_threshold: PassThresholds = PassThresholds()
    max_error_rate: Share = 0.25
    """More completions without a score than this, and the sample is dropped: nothing is known of it."""
    max_truncated_rate: Share = 0.5
    """More completions that were cut off before an answer than this, and the sample is dropped."""
    chance: Literal["both", "bound", "subtract", "off"] = "both"
    """How `default` corrects for guessing. bound: the lower confidence bound of the accuracy must be above
    chance. subtract: gap and band look at (p - chance) / (1 - chance)."""
    confidence: Share = 0.95
    """Of that bound, one-sided: of samples that are mere guessing at most 1 - confidence pass."""
    stage2_replay: Share = 0.05
    """Share of the stage-1 rows that stage 2 repeats, answer-only as they are. The original's stage 2
    holds about 4.4% such rows. A mixture may say something else."""
    selection: SelectionSettings = SelectionSettings()

    @property
    def rules(self) -> frozenset[str]:
        """Return the rules that `rule` stands for, "default" and "paper" taken apart."""
        names = set(self.rule.split("+"))
        if names & {"default", "paper"}:
            names |= {"gap", "band"}
        return frozenset(names - {"default", "paper"})

    @property
    def corrects(self) -> bool:
        """Return whether gap and band are corrected for guessing."""
        return "default" in self.rule.split("+") and self.chance != "off"

    @field_validator("rule")
    @classmethod
    def _known(cls, rule: str) -> str:
        unknown = [name for name in rule.split("+") if name not in RULES]
        if unknown:
            raise ValueError(f"unknown rule {unknown[0]!r}; give {', '.join(RULES)}, or several joined by '+'")
        return rule

    @field_validator("band")
    @classmethod
    def _window(cls, band: tuple[float, float]) -> tuple[float, float]:
        if not band[0] < band[1]:  # NaN, too, is no bound
            raise ValueError("the lower bound must be below the upper bound")
        return band

    @field_validator("pass_count")
    @classmethod
    def _range(cls, counts: tuple[int, int]) -> tuple[int, int]:
        if counts[0] > counts[1]:
            raise ValueError("the lower bound must not be above the upper bound")
        return counts
