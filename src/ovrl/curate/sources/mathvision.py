"""MathVision (MathLLMs/MathVision).

Raw row: `id`, `question` (with marks `<image1>`, ... for the parts of one picture), `options` (list, possibly empty),
`answer`, `decoded_image` (or `image`, a path), `level`, `subject`.
"""

import re
from typing import Any

from ovrl.curate.sources.fields import Row, images, lettered, text, with_marks, with_options

_PART = re.compile(r"<image\s*(\d+)>", re.IGNORECASE)


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample; a question with options is a choice, any other asks for an expression."""
    del seed
    pictures = images(row, "decoded_image", "image")
    options = [str(option) for option in row.get("options") or ()]
    question = text(row, "question")
    if any(option != mark for mark, option in lettered(options)):  # otherwise the picture shows them
        question = with_options(question, options)
    single = len(set(_PART.findall(question))) <= 1
    question = _PART.sub("" if single else r"(picture \1)", question)
    return [
        {
            "id": f"mathvision-{row['id']}" if "id" in row else None,
            "images": pictures,
            "problem": with_marks(question.strip(), len(pictures)),
            "answer": [text(row, "answer")],
            "answer_type": "multiple-choice" if options else "math-expressions",
            "problem_type": "stem",
            "prompt_type": "thinking",
            "source": "mathvision",
            "meta": {name: row[name] for name in ("level", "subject") if row.get(name) is not None},
        }
    ]
