"""Render SVG drawings to pixels, without reading anything that is not in their text."""

from typing import Any, NoReturn
from xml.etree.ElementTree import ParseError

import numpy as np
from cairocffi import CairoError
from cairosvg.parser import Tree
from cairosvg.surface import PNGSurface
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ovrl.reward import svg_bounds
from ovrl.reward.ssim import Channel, channel

SIZE = 336
"""Pixels of a picture, both ways."""

# What cairosvg and its parsers raise on a drawing that is none; anything else is our bug.
_RENDER_ERRORS = (
    ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, MemoryError,
    OSError, ParseError, CairoError, DefusedXmlException,
)  # fmt: skip


def picture(source: str) -> list[Channel] | None:
    """Return the drawing on white as red, green and blue of [SIZE, SIZE]; None when it does not render.

    Too much work (`svg_bounds`) and references to files or addresses count as not rendering.
    """
    encoded = source.encode(errors="surrogatepass")
    try:
        svg_bounds.check(fromstring(encoded, forbid_entities=True, forbid_external=True), SIZE)
        surface: Any = _Canvas(
            Tree(bytestring=encoded, unsafe=False, url_fetcher=_refuse),
            None, 96, output_width=SIZE, output_height=SIZE, background_color="white",
        )  # fmt: skip
    except _RENDER_ERRORS:
        return None
    # cairo's ARGB32 is blue, green, red, alpha in memory; on white paper alpha is 255 throughout.
    pixels = np.frombuffer(surface.cairo.get_data(), np.uint8).reshape(SIZE, SIZE, 4)
    return [channel(np.ascontiguousarray(pixels[:, :, place])) for place in (2, 1, 0)]


class _Canvas(PNGSurface):
    """A surface that stays in memory: nobody needs it as a file, and packing one takes longest."""

    def finish(self) -> None:
        """Leave the pixels where they are."""


def _refuse(url: str, resource_type: str = "") -> NoReturn:
    """Refuse to read anything that a drawing refers to, be it a file or an address."""
    raise PermissionError(f"a drawing may not read {resource_type or 'a file'}: {url[:80]}")
