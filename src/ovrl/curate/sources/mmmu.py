"""MMMU (MMMU/MMMU, any subject).

Raw row: `id` ("validation_Biology_3"), `question` and `options` (a list, or its Python text) with marks `<image 1>`,
..., `image_1` to `image_7`, `answer` (a letter; for open questions a text or a list, or its Python text).
"""

import ast
import re
from typing import Any

from ovrl.curate.sources.fields import Row, text, with_options
from ovrl.errors import RecordError
from ovrl.records import IMAGE_MARK

_MARK = re.compile(r"<image\s*(\d+)>", re.IGNORECASE)
_SUBJECTS = {
    "Biology": "bio",
    "Chemistry": "chem",
    "Physics": "phys",
    "Geography": "geo",
    "Computer_Science": "cs",
}


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample; its images stand in the order in which the text names them."""
    del seed
    options = _listed(row.get("options"))
    golds = _listed(row.get("answer"))
    if not golds:
        raise RecordError("answer", "no answer is given")
    question = text(row, "question")
    question = with_options(question, options) if options else question
    numbers = _MARK.findall(question)
    unnamed = [str(i) for i in range(1, 8) if row.get(f"image_{i}") is not None and str(i) not in numbers]
    question = IMAGE_MARK * len(unnamed) + ("\n" if unnamed else "") + _MARK.sub(IMAGE_MARK, question)
    given = str(row.get("id", ""))
    _, _, subject = given.rpartition("_")[0].partition("_")
    return [
        {
            "id": f"mmmu-{given}" if given else None,
            "images": [_image(row, number) for number in (*unnamed, *numbers)],
            "problem": question,
            "answer": golds,
            "answer_type": "multiple-choice" if options else "math-expressions",
            "problem_type": "stem",
            "prompt_type": "thinking",
            "source": f"mmmu_{_SUBJECTS.get(subject, subject.lower())}" if subject else "mmmu",
        }
    ]


def _listed(value: Any) -> list[str]:
    """Return the texts of a list, of the Python text of a list, or of one text."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):  # "[0, 1)" is an interval
            return [value]
    if not isinstance(value, list | tuple):
        value = [] if value in (None, "") else [value]
    return [str(one) for one in value]


def _image(row: Row, number: str) -> Any:
    image = row.get(f"image_{number}")
    if image is None:
        raise RecordError(f"image_{number}", "the text names it, and it is missing")
    return image
