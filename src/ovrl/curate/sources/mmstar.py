"""MMStar (Lin-Chen/MMStar).

Raw row: `index`, `question` (with its options), `image`, `answer` (a letter), `category`, `l2_category`.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text
from ovrl.records import IMAGE_MARK


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample."""
    del seed
    return [
        {
            "id": f"mmstar-{row['index']}" if "index" in row else None,
            "images": images(row, "image"),
            "problem": f"{IMAGE_MARK}\n{text(row, 'question')}",
            "answer": [text(row, "answer")],
            "answer_type": "multiple-choice",
            "problem_type": "general",
            "prompt_type": "thinking",
            "source": "mmstar",
            "meta": {name: row[name] for name in ("category", "l2_category") if row.get(name) is not None},
        }
    ]
