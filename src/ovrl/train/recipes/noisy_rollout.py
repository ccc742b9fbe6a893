"""NoisyRollout (arXiv:2504.13055): half of each group is sampled from a noisy image, and trained on the clean one."""

from pydantic import Field

from ovrl.records import Sample
from ovrl.settings import Settings
from ovrl.train.plan import Draw
from ovrl.train.recipe import Recipe
from ovrl.train.views import Noisy


class NoisyRollout(Recipe):
    """A group of clean and noisy completions; a schedule of `objective.options.noise` lets the noise die away."""

    class Options(Settings):
        """Of the noise."""

        noise: float = Field(default=0.5, ge=0, le=1)
        """Share of an image's variance that is noise."""

    def plan(self, sample: Sample, size: int) -> tuple[Draw, ...]:
        """Return half of the completions clean, and half from the noisy image; all clean where there is none."""
        if not sample.images:
            return super().plan(sample, size)
        noisy = size // 2
        return Draw(size - noisy), Draw(noisy, Noisy(self.options.noise))
