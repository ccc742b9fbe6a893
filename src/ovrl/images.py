"""Open images: from a path, bytes or a data URI, to RGB, inside a pixel budget."""

import base64
import binascii
import contextlib
import io
import math
import re
import warnings
from collections.abc import Generator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ovrl.errors import RecordError
from ovrl.records import ImageRef

MAX_PIXELS = 512 * 512
"""Area of the recipe's training images; larger ones are shrunk."""

_DECODE_LIMIT = 100_000_000
"""Pixels that a header may announce before we refuse to decode: a bomb, not a photograph. Pillow warns at 89 million,
which is silenced, and refuses at 179 million by itself."""

_SHARP = 160 * 160
"""Small drawings stay PNG on a page, which does not blur their letters."""

_DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)


def parse(text: str, base: Path) -> ImageRef:
    """Return the reference for a string in an `images` list: a data URI, or a path relative to `base`.

    Raises:
        RecordError: the data URI is not base64, or the string is a URL.
    """
    if match := _DATA_URI.match(text):
        try:
            return ImageRef(data=base64.b64decode(text[match.end() :], validate=True))
        except binascii.Error as error:
            raise RecordError("images", f"data URI is not base64 ({error})") from error
    if text.startswith(("http://", "https://")):
        raise RecordError("images", f"{text[:60]!r} is a URL; download it and give a path")
    return ImageRef(path=str(base / text))


def read_bytes(image: ImageRef) -> bytes:
    """Return the encoded file.

    Raises:
        RecordError: the file cannot be read.
    """
    if image.data is not None:
        return image.data
    assert image.path is not None
    try:
        return Path(image.path).read_bytes()
    except OSError as error:
        raise RecordError("images", f"cannot read {image.path}: {error.strerror}") from error


def read_header(image: ImageRef) -> Image.Image:
    """Return the image with its size and format known, and its pixels not yet decoded.

    Raises:
        RecordError: the bytes are no image, or announce an absurd size.
    """
    name = _name(image)
    with _judged(name):
        opened = Image.open(io.BytesIO(read_bytes(image)))
        if opened.width * opened.height > _DECODE_LIMIT:
            raise RecordError("images", f"{name} announces {opened.width} x {opened.height} pixels")
    return opened


def load(image: ImageRef, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the decoded image in RGB, alpha laid over white, shrunk to at most `max_pixels`.

    Raises:
        RecordError: the bytes are no image, are torn, or announce an absurd size.
    """
    opened = read_header(image)
    with _judged(_name(image)):
        opened.load()
    return normalized(opened, max_pixels=max_pixels)


def normalized(image: Image.Image, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a decoded image in RGB, alpha laid over white, shrunk to at most `max_pixels`."""
    return _fit(_to_rgb(image), max_pixels)


def _name(image: ImageRef) -> str:
    return image.path or "embedded image"


@contextlib.contextmanager
def _judged(name: str) -> Generator[None]:
    """Make record errors of what Pillow raises, and silence its warnings: the picture is good, or fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RecordError("images", f"{name} is not an image that can be opened ({error})") from error
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for torn files
        raise RecordError("images", f"{name} is damaged ({error})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the image in RGB; transparent parts become white, as a page would show them."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.convert("I").point(lambda value: value / 257).convert("L")  # 16-bit greys would be clipped
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _fit(image: Image.Image, max_pixels: int) -> Image.Image:
    area = image.width * image.height
    if area <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / area)
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def to_png(image: Image.Image, *, compression: int = 6) -> bytes:
    """Return the image as a PNG file; compression from 0 to 9, where 1 is fast."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=compression)
    return stream.getvalue()


def thumbnail(ref: ImageRef, *, max_pixels: int) -> str:
    """Return the image decoded and encoded again, small, as a data URI: nothing foreign gets into a page.

    Raises:
        RecordError: it cannot be opened; see `load`.
    """
    picture = load(ref, max_pixels=max_pixels)
    encoded = io.BytesIO()
    if picture.width * picture.height <= _SHARP:
        picture.save(encoded, "PNG", optimize=True)
    else:
        picture.save(encoded, "JPEG", quality=85)
    return to_data_uri(encoded.getvalue())


def to_data_uri(data: bytes) -> str:
    """Return the encoded image as a data URI."""
    return f"data:image/{kind(data)};base64,{base64.b64encode(data).decode()}"


def kind(data: bytes) -> str:
    """Return the type of an encoded image ("png"), told by its first bytes; it serves as a file's suffix, too."""
    kinds = {b"\x89PNG": "png", b"\xff\xd8": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
    return next((name for head, name in kinds.items() if data.startswith(head)), "png")
