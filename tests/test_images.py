import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from builders import picture
from ovrl import images
from ovrl.errors import RecordError
from ovrl.records import ImageRef


def load(data: bytes, **options: Any) -> Image.Image:
    return images.load(ImageRef(data=data), **options)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def grey16(value: int, mode: str = "I;16") -> Image.Image:
    return Image.frombytes(mode, (4, 4), struct.pack(">H" if mode.endswith("B") else "<H", value) * 16)


def palette() -> Image.Image:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    return image


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (picture(color=(10, 200, 30)), (10, 200, 30)),
        (picture(mode="RGBA", color=(255, 0, 0, 0)), (255, 255, 255)),  # see-through is paper
        (picture(mode="RGBA", color=(255, 0, 0, 255)), (255, 0, 0)),
        (picture(mode="RGBA", color=(0, 0, 0, 128)), (127, 127, 127)),
        (picture(mode="LA", color=(0, 0)), (255, 255, 255)),
        (picture(mode="LA", color=(60, 255)), (60, 60, 60)),
        (picture(mode="L", color=60), (60, 60, 60)),
        (picture(mode="1", color=1), (255, 255, 255)),
        (encoded(palette()), (10, 200, 30)),
        (picture(mode="CMYK", color=(0, 255, 255, 0), form="TIFF"), (255, 0, 0)),
        (encoded(grey16(65535)), (255, 255, 255)),  # convert() alone would clip all but the darkest
        (encoded(grey16(257 * 60)), (60, 60, 60)),
        (encoded(grey16(257 * 60, "I;16B"), "TIFF"), (60, 60, 60)),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_every_mode_becomes_rgb_over_white(data: bytes, want: tuple[int, int, int]):
    image = load(data)
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == want


def announcing(width: int, height: int) -> bytes:
    """Return a PNG whose header lies."""
    data = bytearray(picture())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_our_limit_is_the_one_that_holds():
    assert images.read_header(ImageRef(data=announcing(10_000, 10_000))).size == (10_000, 10_000)
    for size in ((10_000, 10_001), (17_000, 10_000)):
        with pytest.raises(RecordError, match=f"announces {size[0]} x {size[1]} pixels"):
            images.read_header(ImageRef(data=announcing(*size)))
    with pytest.raises(RecordError, match="is not an image that can be opened"):
        images.read_header(ImageRef(data=announcing(40_000, 40_000)))


def test_a_large_picture_is_decoded_without_a_warning(recwarn: pytest.WarningsRecorder):
    assert load(picture((10_000, 9_000), 1, mode="1"), max_pixels=90_000).size == (316, 284)
    assert not recwarn.list


def test_a_palette_with_a_transparent_entry_lies_over_white():
    stream = io.BytesIO()
    palette().save(stream, "PNG", transparency=1)
    assert load(stream.getvalue()).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("size", "budget", "want"),
    [
        ((512, 512), 512 * 512, (512, 512)),
        ((513, 512), 512 * 512, (512, 511)),
        ((1024, 256), 512 * 512, (1024, 256)),  # the area counts, and not the longer side
        ((2048, 512), 512 * 512, (1024, 256)),
        ((4000, 1), 100, (632, 1)),
        ((8, 8), 512 * 512, (8, 8)),  # never enlarged
    ],
)
def test_larger_images_shrink_to_the_budget_in_their_shape(size: tuple[int, int], budget: int, want: tuple[int, int]):
    assert load(picture(size), max_pixels=budget).size == want


def test_the_budget_is_that_of_the_recipe():
    assert load(picture((1000, 1000))).size == (512, 512)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG header that announces an absurd size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"\0" * 10)
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"<svg/>", "not an image"),
        (picture((200, 200), form="JPEG")[:400], "damaged"),
        (picture((200, 200))[:-30], "damaged"),
        (bomb(60_000, 60_000), "not an image that can be opened"),
        (bomb(12_000, 10_000), "announces 12000 x 10000 pixels"),
    ],
    ids=["empty", "svg", "half a JPEG", "half a PNG", "bomb", "small bomb"],
)
def test_a_bad_image_is_a_record_error(data: bytes, reason: str):
    with pytest.raises(RecordError, match=reason) as caught:
        load(data)
    assert caught.value.field == "images"


def test_a_file_that_is_absent_is_named(tmp_path: Path):
    with pytest.raises(RecordError, match=r"cannot read .*no\.png: No such file"):
        images.load(ImageRef(path=str(tmp_path / "no.png")))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_whatever_the_bytes_are_nothing_but_a_record_error_comes_out(form: str):
    chance = random.Random(form)
    good = encoded(Image.radial_gradient("L").resize((40, 30)).convert("RGB"), form)
    for number in range(80):
        data = bytearray(good)
        for _ in range(chance.choice([1, 3, 10])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            image = load(bytes(data[: chance.randrange(len(data))] if number % 3 == 0 else data))
        except RecordError:
            continue
        assert image.mode == "RGB"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_data_uri_says_what_it_holds_and_comes_back(form: str):
    data = picture(form=form)
    uri = images.to_data_uri(data)
    assert uri.startswith(f"data:image/{form.lower()};base64,")
    assert images.parse(uri, Path()).data == data
