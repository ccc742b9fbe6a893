"""UniSVG (lili24/UniSVG).

Raw row: `type`, `image_path`, `q_text`, `a_text` (SVG source). Only the type ISVGEN, drawings to be redrawn as SVG,
is taken. `--images` is the `png` folder.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, text, with_marks


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample, or none for the other types of the set."""
    del seed
    if row.get("type") != "ISVGEN":
        return []
    return [
        {
            "images": [text(row, "image_path")],
            "problem": with_marks(text(row, "q_text"), 1),
            "answer": [text(row, "a_text")],
            "answer_type": "svg-code",
            "problem_type": "coding",
            "prompt_type": "thinking",
            "source": "unisvg",
        }
    ]
