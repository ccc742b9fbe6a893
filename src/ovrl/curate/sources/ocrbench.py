"""OCRBench (lmms-lab/OCRBench-v2, or the first version with `answer`).

Raw row: `id`, `question`, `image`, `answers` or `answer` (one text or a list), `type` or `question_type`.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text, texts
from ovrl.records import IMAGE_MARK


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample with every accepted answer."""
    del seed
    return [
        {
            "id": f"ocrbench-{row['id']}" if "id" in row else None,
            "images": images(row, "image"),
            "problem": f"{IMAGE_MARK}\n{text(row, 'question')}",
            "answer": texts(row, "answers" if "answers" in row else "answer"),
            "answer_type": "ocrtext",
            "problem_type": "ocr",
            "prompt_type": "thinking",
            "source": "ocrbench",
            "meta": {name: row[name] for name in ("type", "question_type") if row.get(name) is not None},
        }
    ]
