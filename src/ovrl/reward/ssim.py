"""Structural similarity of two 8-bit pictures, in whole numbers until the last step.

SSIM of Wang, Bovik, Sheikh and Simoncelli (IEEE Trans. Image Processing 13(4), 2004, equation 13), as
scikit-image computes it by default: a uniform 7 x 7 window, K1 = 0.01, K2 = 0.03, range 255, sample covariance,
mean over all windows that lie inside the picture and over the channels. With n = 49 pixels to a window and
S for sums over it, every window is worth

    (2 Sx Sy + c1) (2 (n Sxy - Sx Sy) + c2) / ((Sx^2 + Sy^2 + c1) (n Sxx - Sx^2 + n Syy - Sy^2 + c2)).

All sums and products fit 32 bits, so nothing is rounded before the quotient.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 7
WINDOW_PIXELS = WINDOW * WINDOW
_C1 = np.float32((0.01 * 255) ** 2 * WINDOW_PIXELS * WINDOW_PIXELS)
_C2 = np.float32((0.03 * 255) ** 2 * WINDOW_PIXELS * (WINDOW_PIXELS - 1))

Plane = NDArray[np.uint8]
"""[height, width], one color channel, at least 7 pixels each way."""
_Whole = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Channel:
    """One color channel and what SSIM needs of it alone, so that a reference is summed only once."""

    pixels: Plane
    sums: _Whole
    """[height - 6, width - 6]: Sx of each window."""
    spread: _Whole
    """[height - 6, width - 6]: n Sxx - Sx^2, the variance times n (n - 1)."""


def channel(pixels: Plane) -> Channel:
    """Return a color channel with its sums."""
    # A window of 49 bytes sums to 12,495 at most: 16 bits carry twice as many pixels at a time.
    sums = _window_sums(pixels.astype(np.uint16)).astype(np.int32)
    squares = pixels.astype(np.int32)
    squares *= squares
    spread = _window_sums(squares)
    spread *= WINDOW_PIXELS
    spread -= sums * sums
    return Channel(pixels, sums, spread)


def ssim(reference: list[Channel], other: list[Channel]) -> float:
    """Return the mean SSIM, in [-1, 1], of two pictures with the same channels and size; 1.0 when they are equal."""
    # Channel by channel, because a plane fits the processor's cache and a picture does not.
    return sum(map(_channel_ssim, reference, other)) / len(reference)


def _channel_ssim(x: Channel, y: Channel) -> float:
    both = x.sums * y.sums
    products = x.pixels.astype(np.int32)
    products *= y.pixels
    shared = _window_sums(products)
    shared *= WINDOW_PIXELS
    shared -= both
    shared *= 2
    light = x.sums - y.sums
    light *= light  # Sx^2 + Sy^2 = (Sx - Sy)^2 + 2 Sx Sy
    both *= 2
    light += both
    similar = both.astype(np.float32)
    similar += _C1
    similar *= _plus_c2(shared)
    total = light.astype(np.float32)
    total += _C1
    total *= _plus_c2(x.spread + y.spread)
    similar /= total
    return float(similar.mean(dtype=np.float64))


def _plus_c2(values: _Whole) -> NDArray[np.float32]:
    result = values.astype(np.float32)
    result += _C2
    return result


def _window_sums(values: NDArray[Any]) -> NDArray[Any]:
    """Return [height - 6, width - 6]: the sum of each 7 x 7 window, by adding twos, then three twos and one."""
    twos = values[:-1] + values[1:]
    down = twos[:-5] + twos[2:-3]
    down += twos[4:-1]
    down += values[6:]
    twos = down[:, :-1] + down[:, 1:]
    window = twos[:, :-5] + twos[:, 2:-3]
    window += twos[:, 4:-1]
    window += down[:, 6:]
    return window
