"""Settings of `ovrl eval`."""

from pydantic import NonNegativeFloat, PositiveInt

from ovrl.images import MAX_PIXELS
from ovrl.reward.settings import ScoreSettings
from ovrl.rollout.settings import EngineSettings, SamplingSettings
from ovrl.settings import Settings


class EvalSettings(Settings):
    """`ovrl eval` on a samples file."""

    n: PositiveInt = 4
    """Completions for each sample; accuracy is their mean, an unbiased pass@1."""
    k: PositiveInt | None = None
    """k of pass@k; None: n."""
    pass_threshold: NonNegativeFloat = 0.5
    """A completion whose accuracy reaches this counts as correct for pass@k; 0/1 rewards do not care."""
    max_pixels: PositiveInt = MAX_PIXELS
    sampling: SamplingSettings = SamplingSettings()
    engine: EngineSettings = EngineSettings()
    score: ScoreSettings = ScoreSettings()
