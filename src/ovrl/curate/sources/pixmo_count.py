"""PixMo-Count (allenai/pixmo-count, or a copy of it with images).

Raw row: `count`, `label`, and `image`; or `image_url` and `image_sha256` as published. Nothing is downloaded here:
fetch the URLs to files that are named by their sha256, and give their folder as `--images`. A row that has
`problem`, `answer` and `images` already is taken as it is.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text, texts, with_marks
from ovrl.errors import RecordError


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample."""
    del seed
    pictures = images(row, "images", "image", "image_path", "image_sha256")
    if "problem" in row:
        problem, answer = text(row, "problem"), texts(row, "answer")
    else:
        count = row.get("count")
        if not isinstance(count, int) or count < 0:
            raise RecordError("count", f"a count is expected, not {count!r}")
        problem = f"Count in this image: {text(row, 'label')}. How many are there?"
        answer = [str(count)]
    return [
        {
            "images": pictures,
            "problem": with_marks(problem, len(pictures)),
            "answer": answer,
            "answer_type": "number",
            "problem_type": "counting",
            "prompt_type": "normal",
            "source": "pixmo-count",
        }
    ]
