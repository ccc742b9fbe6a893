"""DocVQA (lmms-lab/DocVQA, config DocVQA).

Raw row: `questionId`, `question`, `image`, `answers` (list of accepted texts).
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text, texts
from ovrl.records import IMAGE_MARK


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample with every accepted answer."""
    del seed
    return [
        {
            "id": f"docvqa-{row['questionId']}" if "questionId" in row else None,
            "images": images(row, "image"),
            "problem": f"{IMAGE_MARK}\n{text(row, 'question')}",
            "answer": texts(row, "answers"),
            "answer_type": "ocrtext",
            "problem_type": "ocr",
            "prompt_type": "thinking",
            "source": "docvqa",
        }
    ]
