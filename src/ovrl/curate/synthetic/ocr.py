"""OCR: read words, codes, and print that is too small to read."""

import random

from ovrl.curate.synthetic.canvas import CELL, COLORS, SIZE, blank, letters, words
from ovrl.curate.synthetic.draft import Draft, Level

# fmt: off
WORDS = (
    "cat", "dog", "sun", "map", "cup", "hat", "bus", "key", "fox", "owl", "jam", "net",
    "pie", "log", "rug", "zip", "yak", "ink", "bee", "ant", "fig", "wax", "gem", "vet",
)
# fmt: on
CODE = "ACEHKLMNPRTUXY"
"""Letters of the random codes: those that differ in shape."""


def draw(rng: random.Random, level: Level) -> Draft:
    """Return a picture with some text, to be read."""
    image = blank()
    if level == "impossible":
        text = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(16))
        pale = rng.randint(225, 235)
        at = (rng.randint(2, 40), rng.randint(6, 90))
        words(image, text, at, size=5, color=(pale, pale, pale))
    else:
        text = {
            "trivial": lambda: rng.choice(WORDS[:6]),
            "easy": lambda: rng.choice(WORDS[:12]),
            "medium": lambda: "".join(rng.choices(CODE, k=2)),
        }.get(level, lambda: "".join(rng.choices(CODE, k=4)))()
        color = rng.choice(list(COLORS.values()))
        row, left = 1, 0
        if level not in ("trivial", "easy"):
            row, left = rng.randrange(SIZE // CELL), CELL * rng.randint(0, SIZE // CELL - len(text))
        letters(image, text, row=row, color=color, left=left)
    return Draft(
        image=image,
        problem="Read the text.",
        answer=text,
        answer_type="ocrtext",
        problem_type="ocr",
        thinking="it is too small" if level == "impossible" else "letters " + " ".join(text),
    )
