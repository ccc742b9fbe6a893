import numpy as np
import pytest

from ovrl.reward.svg_picture import SIZE, picture

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="4" height="4">'


def test_colors_and_places():
    shown = picture(HEAD + '<rect x="2" width="2" height="2" fill="#ff8000"/></svg>')
    assert shown is not None
    corner = [int(channel.pixels[10, SIZE - 10]) for channel in shown]
    assert corner == [255, 128, 0]
    assert [int(channel.pixels[-10, -10]) for channel in shown] == [255, 255, 255]  # on white paper
    assert all(channel.pixels.shape == (SIZE, SIZE) for channel in shown)


def test_half_transparent_ink_is_mixed_with_the_paper():
    shown = picture(HEAD + '<rect width="4" height="4" fill="black" fill-opacity=".5"/></svg>')
    assert shown is not None
    assert abs(int(np.median(shown[0].pixels)) - 127) <= 1


def test_the_same_text_gives_the_same_pixels():
    drawing = HEAD + '<circle r="2"/><text y="3" font-size="2">a</text></svg>'
    one, other = picture(drawing), picture(drawing)
    assert one is not None
    assert other is not None
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "inside",
    [
        '<image href="file:///etc/passwd" width="9" height="9"/>',
        '<image xlink:href="http://127.0.0.1:9/a.png" width="9" height="9"/>',
        '<image href="data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E" width="9" height="9"/>',
        '<style>@import "http://127.0.0.1:9/a.css";</style>',
        "<style>@import url(http://127.0.0.1:9/a.css);</style>",
        '<text><tref href="/etc/passwd"/></text>',
        "&undeclared;",
        "<rect",
        "\ud800",
        "\x00",
    ],
)
def test_what_reads_something_else_or_is_broken_does_not_render(inside: str):
    assert picture(HEAD + inside + '<rect width="4" height="4"/></svg>') is None


@pytest.mark.parametrize(
    "declaration",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;',
    ],
)
def test_entities_are_refused(declaration: str):
    assert picture(f"<!DOCTYPE svg [{declaration}]>{HEAD}<rect width='4' height='4'/></svg>") is None


def test_an_unknown_color_or_link_within_the_drawing_is_no_error():
    assert picture(HEAD + '<rect width="4" height="4" fill="url(#none)"/><use href="#none"/></svg>') is not None
