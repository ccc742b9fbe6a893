"""InfographicVQA, as lmms-lab/DocVQA (config InfographicVQA) or as vidore/infovqa_train.

Raw row of the first: `questionId`, `question`, `image`, `answers` (list of accepted texts). Of the second: `query`,
`image`, `answer` (one text that ends in a full stop).
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text, texts
from ovrl.records import IMAGE_MARK


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample with every accepted answer."""
    del seed
    if "query" in row:
        question = text(row, "query")
        answers = [answer.removesuffix(".") or answer for answer in texts(row, "answer")]
    else:
        question, answers = text(row, "question"), texts(row, "answers")
    return [
        {
            "id": f"infovqa-{row['questionId']}" if "questionId" in row else None,
            "images": images(row, "image"),
            "problem": f"{IMAGE_MARK}\n{question}",
            "answer": answers,
            "answer_type": "ocrtext",
            "problem_type": "ocr",
            "prompt_type": "normal",
            "source": "infovqa",
        }
    ]
