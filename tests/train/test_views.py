from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from ovrl.errors import OvrlError, UsageError
from ovrl.rollout.prompt import Prompt
from ovrl.train import views
from ovrl.train.views import Masked, Noisy

WHITE = Image.new("RGB", (140, 98), "white")


def pixels(view, *, sample_id: str = "s", step: int = 3, seed: int = 1, image: Image.Image = WHITE) -> np.ndarray:
    shown = views.shown(view, Prompt([], (image,)), sample_id, step=step, seed=seed)
    return np.asarray(shown.images[0])


def test_a_mask_blacks_out_whole_patches_with_its_probability():
    large = Image.new("RGB", (1400, 1400), "white")
    got = pixels(Masked(0.6), image=large)
    patches = got.reshape(100, 14, 100, 14, 3)
    dark = patches.max(axis=(1, 3, 4)) == 0
    light = patches.min(axis=(1, 3, 4)) == 255
    assert (dark | light).all()
    assert dark.mean() == pytest.approx(0.6, abs=0.02)


def test_patches_at_the_border_may_be_cut():
    got = pixels(Masked(1.0, patch=50))
    assert got.shape == (98, 140, 3)
    assert not got.any()


def test_probability_and_noise_of_zero_change_nothing():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    assert (pixels(Masked(0.0), image=image) == np.asarray(image)).all()
    assert (pixels(Noisy(0.0), image=image) == np.asarray(image)).all()


def test_noise_has_its_share_of_the_variance():
    """Grey is 0 in [-1, 1], so what is left is noise alone; at 0.04 hardly any of it is cut."""
    got = pixels(Noisy(0.04), image=Image.new("RGB", (300, 300), (128, 128, 128)))
    assert ((got / 127.5 - 1).var()) == pytest.approx(0.04, rel=0.03)


def test_a_view_is_a_function_of_sample_step_and_seed():
    base = pixels(Masked(0.5))
    assert (pixels(Masked(0.5)) == base).all()
    for change in ({"sample_id": "t"}, {"step": 4}, {"seed": 2}):
        assert (pixels(Masked(0.5), **change) != base).any()


@dataclass(frozen=True)
class Cropped:
    name: str = "cropped"

    def image(self, image, rng):
        return image.crop((0, 0, 10, 10))


def test_a_view_that_changes_the_size_is_refused():
    with pytest.raises(OvrlError, match="'cropped' changed the size"):
        pixels(Cropped())


def test_views_that_agree_are_made_once_and_others_need_names_of_their_own():
    assert views.distinct([Masked(0.5), Noisy(0.1), Masked(0.5)]) == [Masked(0.5), Noisy(0.1)]
    with pytest.raises(UsageError, match="'masked'"):
        views.distinct([Masked(0.5), Masked(0.6)])
