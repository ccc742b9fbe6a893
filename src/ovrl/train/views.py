"""Views: images changed at random, of the same size, so that the number of image tokens stays.

A view is a function of (sample, step, seed): a resumed run sees the same one. The learner finds each token's
log-probability under every view that the recipe declares, once, without gradient and by the weights that it trains,
and puts it into `Batch.aux` as `logp@<name>`; NaN on completions of prompts without images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from ovrl.errors import OvrlError, UsageError
from ovrl.records import derive_seed
from ovrl.rollout.prompt import Prompt


class View(Protocol):
    """One way to change an image."""

    @property
    def name(self) -> str:
        """What `logp@<name>` is called after."""
        ...

    def image(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return the changed image, of the same size."""
        ...


@dataclass(frozen=True, slots=True)
class Masked:
    """Square patches turned black, each with the same probability."""

    probability: float
    patch: int = 14
    """Pixels along a side."""
    name: str = "masked"

    def image(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return the image with patches blacked out."""
        pixels = np.array(image)
        rows, columns = -(-pixels.shape[0] // self.patch), -(-pixels.shape[1] // self.patch)
        dark = rng.random((rows, columns)) < self.probability
        large = dark.repeat(self.patch, axis=0).repeat(self.patch, axis=1)[: pixels.shape[0], : pixels.shape[1]]
        pixels[large] = 0
        return Image.fromarray(pixels)


@dataclass(frozen=True, slots=True)
class Noisy:
    """Gaussian noise mixed in: sqrt(1 - level) x + sqrt(level) e in [-1, 1], as a diffusion process at one step."""

    level: float
    """Share of the variance that is noise, from 0 to 1."""
    name: str = "noisy"

    def image(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return the noisy image."""
        if self.level == 0:
            return image
        scaled = np.asarray(image, dtype=np.float64) / 127.5 - 1
        mixed = np.sqrt(1 - self.level) * scaled + np.sqrt(self.level) * rng.standard_normal(scaled.shape)
        return Image.fromarray(((mixed.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8))


def shown(view: View, prompt: Prompt, sample_id: str, *, step: int, seed: int) -> Prompt:
    """Return the prompt with its images changed; one without images stays as it is.

    Raises:
        OvrlError: the view changed the size of an image.
    """
    rng = np.random.default_rng(derive_seed(seed, "view", view.name, sample_id, step))
    changed = tuple(view.image(image, rng) for image in prompt.images)
    if [image.size for image in changed] != [image.size for image in prompt.images]:
        raise OvrlError(f"the view {view.name!r} changed the size of an image, and so the number of image tokens")
    return replace(prompt, images=changed)


def distinct(views: Sequence[View]) -> list[View]:
    """Return each view once, since recipes that run together may share one.

    Raises:
        UsageError: two different views have one name.
    """
    found: dict[str, View] = {}
    for view in views:
        if found.setdefault(view.name, view) != view:
            raise UsageError(f"two different views are called {view.name!r}: {found[view.name]} and {view}")
    return list(found.values())
