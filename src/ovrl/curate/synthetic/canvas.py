"""Draw on a small canvas of 4 x 4 cells: shapes that do not touch, letters, words."""

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFont

SIZE = 96
"""Pixels along one side of every picture."""

CELL = 24
"""Pixels along one side of a cell; two 12-pixel patches, so that a tiny model sees a cell as one token."""

SHAPES = ("circle", "square", "triangle")

COLORS = {
    "red": (214, 39, 40),
    "green": (44, 150, 60),
    "blue": (31, 100, 200),
    "orange": (255, 150, 20),
    "purple": (130, 60, 170),
}

INK = (20, 20, 20)
TINT = 80
"""How far the paper's red falls from left to right, and its blue from top to bottom, of 255."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom lie just outside."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A colored shape and the box that it fills."""

    shape: str
    color: str
    box: Box

    @property
    def name(self) -> str:
        """Return color and shape, as the questions name it."""
        return f"{self.color} {self.shape}"

    @property
    def center(self) -> tuple[float, float]:
        """Return x and y of the middle of the box, in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def blank() -> Image.Image:
    """Return an empty canvas: paper that is tinted towards the right and the bottom.

    The two linear tints tell where a patch lies; the positions of the vision tower are only relative.
    """
    return _paper().copy()


@functools.cache
def _paper() -> Image.Image:
    ramp = Image.linear_gradient("L").resize((SIZE, SIZE))  # black at the top, white at the bottom
    tint = [255 - value * TINT // 255 for value in range(256)]
    down = ramp.point(tint)
    right = ramp.transpose(Image.Transpose.ROTATE_90).point(tint)
    return Image.merge("RGB", (right, Image.new("L", (SIZE, SIZE), 255), down))


def paint(image: Image.Image, things: Sequence[Thing]) -> Image.Image:
    """Draw the things onto `image`, first to last, and return it."""
    pen = ImageDraw.Draw(image)
    for thing in things:
        left, top, right, bottom = thing.box
        edges = (left, top, right - 1, bottom - 1)  # Pillow counts the last pixel in
        fill = COLORS[thing.color]
        if thing.shape == "circle":
            pen.ellipse(edges, fill=fill)
        elif thing.shape == "square":
            pen.rectangle(edges, fill=fill)
        else:
            pen.polygon([(left, bottom - 1), ((left + right) // 2, top), (right - 1, bottom - 1)], fill=fill)
    return image


def cells(rng: random.Random, count: int, *, columns: int = SIZE // CELL) -> list[Box]:
    """Return `count` different cells of a `columns` x `columns` grid, as boxes, in reading order."""
    side = SIZE // columns
    chosen = sorted(rng.sample(range(columns * columns), count))
    corners = [(side * (index % columns), side * (index // columns)) for index in chosen]
    return [(left, top, left + side, top + side) for left, top in corners]


def filling(cell: Box) -> Box:
    """Return the box of a shape that fills its cell but for a rim: the same picture in every cell."""
    left, top, right, bottom = cell
    return left + 2, top + 2, right - 2, bottom - 2


def uneven(rng: random.Random, image: Image.Image) -> Image.Image:
    """Return the picture on paper of uneven brightness: each cell a little darker or lighter.

    It makes every picture its own without hiding anything.
    """
    side = SIZE // CELL
    shade = Image.frombytes("L", (side, side), bytes(rng.randrange(9) for _ in range(side * side)))
    shade = shade.resize((SIZE, SIZE), Image.Resampling.NEAREST)
    return ImageChops.subtract(image, Image.merge("RGB", (shade, shade, shade)))


def inside(rng: random.Random, cell: Box, *, least: int, most: int, step: int = 1) -> Box:
    """Return a square box of a random side in [least, most] and a random place within `cell`.

    Sides and corners are multiples of `step` pixels, counted from the corner of the cell.
    """
    left, top, right, bottom = cell
    side = rng.randrange(least, most + 1, step)
    x = left + rng.randrange(0, right - left - side + 1, step)
    y = top + rng.randrange(0, bottom - top - side + 1, step)
    return x, y, x + side, y + side


def letters(image: Image.Image, text: str, *, row: int, color: tuple[int, int, int] = INK, left: int = 0) -> None:
    """Draw `text`, one character in the middle of each cell of `row` (0..3), from pixel `left` on."""
    pen = ImageDraw.Draw(image)
    for index, character in enumerate(text):
        middle = (left + CELL * index + CELL // 2, CELL * row + CELL // 2)
        pen.text(middle, character, fill=color, font=font(22), anchor="mm")


def words(
    image: Image.Image,
    text: str,
    at: tuple[int, int],
    *,
    size: int,
    color: tuple[int, int, int] = INK,
    anchor: str = "lm",
) -> None:
    """Draw a line of text with a font of `size` pixels, `anchor` (as Pillow names it) at `at`."""
    ImageDraw.Draw(image).text(at, text, fill=color, font=font(size), anchor=anchor)


@functools.cache
def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return Pillow's own font: the machine may have none."""
    return ImageFont.load_default(size=size)
