"""TreeBench (HaochenWang/TreeBench).

Raw row: `question`, `multi-choice options` (text), `image` (base64), `answer` (a letter), perhaps `index`, `category`.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text
from ovrl.records import IMAGE_MARK


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample."""
    del seed
    encoded = [{"bytes": image} if isinstance(image, str) else image for image in images(row, "image")]
    return [
        {
            "id": f"treebench-{row['index']}" if "index" in row else None,
            "images": encoded,
            "problem": f"{IMAGE_MARK}\n{text(row, 'question')}\n{text(row, 'multi-choice options')}",
            "answer": [text(row, "answer")],
            "answer_type": "multiple-choice",
            "problem_type": "grounding",
            "prompt_type": "thinking",
            "source": "treebench",
            "meta": {"category": row["category"]} if "category" in row else {},
        }
    ]
