"""HTML: write the source of a page of one to three lines."""

import random

from PIL import Image, ImageDraw

from ovrl.curate.synthetic.canvas import CELL, COLORS, INK, blank, letters
from ovrl.curate.synthetic.draft import Draft, Level
from ovrl.curate.synthetic.ocr import WORDS

TAGS = ("h1", "p", "button", "li")
_NAMES = {"h1": "heading", "p": "text", "button": "button", "li": "item"}


def draw(rng: random.Random, level: Level) -> Draft:
    """Return the picture of a page and its source."""
    count = {"trivial": 1, "easy": 1, "medium": 2}.get(level, 3)
    lexicon = WORDS[:6] if level in ("trivial", "easy") else WORDS[:12]
    tags = ["h1"] if level == "trivial" else rng.choices(TAGS, k=count)
    lines = [(tag, rng.choice(lexicon)) for tag in tags]
    image = blank()
    color = rng.choice(list(COLORS.values()))
    for row, (tag, text) in enumerate(lines):
        if level == "impossible":  # the outline of a page, its words replaced by a gray line
            _line(image, row, length=rng.randint(40, 90))
        else:
            _element(image, row, tag, text, color)
    return Draft(
        image=image,
        problem="Write the HTML of this page.",
        answer="".join(f"<{tag}>{text}</{tag}>" for tag, text in lines),
        answer_type="html-code",
        problem_type="coding",
        thinking=", ".join(f"{_NAMES[tag]} {text}" for tag, text in lines),
    )


def _element(image: Image.Image, row: int, tag: str, text: str, color: tuple[int, int, int]) -> None:
    """Draw a word in the row, and in the first cell what tells its tag; a paragraph has nothing there."""
    pen = ImageDraw.Draw(image)
    top, middle = CELL * row, CELL * row + CELL // 2
    if tag == "h1":
        pen.rectangle((2, top + 2, 21, top + 21), fill=INK)
    elif tag == "button":
        pen.rectangle((2, top + 2, 21, top + 21), outline=INK, width=3)
    elif tag == "li":
        pen.ellipse((7, middle - 5, 17, middle + 5), fill=INK)
    letters(image, text, row=row, color=color, left=CELL)


def _line(image: Image.Image, row: int, *, length: int) -> None:
    middle = CELL * row + CELL // 2
    ImageDraw.Draw(image).line((4, middle, length, middle), fill=(150, 150, 150), width=4)
