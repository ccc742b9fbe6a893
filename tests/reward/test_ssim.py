import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ovrl.reward.ssim import Channel, channel, ssim

metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference")

Picture = NDArray[np.uint8]
"""[height, width, channels]"""


def channels(picture: Picture) -> list[Channel]:
    return [channel(np.ascontiguousarray(plane)) for plane in np.moveaxis(picture, -1, 0)]


def reference(one: Picture, other: Picture) -> float:
    return metrics.structural_similarity(
        one.astype(np.float64), other.astype(np.float64), data_range=255, channel_axis=-1
    )


def shapes(seed: int, size: int = 96) -> Picture:
    """Return flat rectangles with a slope across them: what drawings look like."""
    rng = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 255, np.uint8)
    for _ in range(6):
        top, left = rng.integers(0, size - 8, 2)
        picture[top : top + rng.integers(4, 60), left : left + rng.integers(4, 60)] = rng.integers(0, 256, 3)
    picture[:, :, 1] //= 1 + (np.arange(size) % 3).astype(np.uint8)
    return picture


@pytest.mark.parametrize("seed", range(8))
def test_drawings_agree_with_scikit_image(seed: int):
    one, other = shapes(seed), shapes(seed + 100)
    assert ssim(channels(one), channels(other)) == pytest.approx(reference(one, other), abs=1e-6)
    other = np.where(shapes(seed + 200) > 128, one, other)
    assert ssim(channels(one), channels(other)) == pytest.approx(reference(one, other), abs=1e-6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0, 0), (255, 255), (0, 255), (254, 255), (1, 2), (128, 129),
    ],
)  # fmt: skip
def test_flat_pictures_agree_with_scikit_image(one: int, other: int):
    first, second = np.full((40, 50, 3), one, np.uint8), np.full((40, 50, 3), other, np.uint8)
    assert ssim(channels(first), channels(second)) == pytest.approx(reference(first, second), abs=1e-6)


def test_extremes_agree_with_scikit_image():
    """Checkerboards and their negatives: the largest variances, and the lowest similarity."""
    board = np.repeat((np.indices((336, 336)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    assert ssim(channels(board), channels(255 - board)) == pytest.approx(reference(board, 255 - board), abs=1e-6)
    assert ssim(channels(board), channels(255 - board)) < -0.9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 30), st.integers(7, 30), st.sampled_from([1, 3]))
def test_noise_agrees_with_scikit_image(seed: int, height: int, width: int, planes: int):
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 256, (height, width, planes)).astype(np.uint8)
    other = np.clip(one.astype(int) + rng.integers(-40, 40, one.shape), 0, 255).astype(np.uint8)
    assert ssim(channels(one), channels(other)) == pytest.approx(reference(one, other), abs=1e-6)


def test_equal_pictures_are_exactly_one_and_order_does_not_matter():
    one, other = channels(shapes(1)), channels(shapes(2))
    assert ssim(one, one) == 1.0
    assert ssim(one, other) == ssim(other, one)
