"""VigoRL-SA, visual search (`visual_search/vigorl_SA_RL.json` of the VigoRL data sets).

Raw row: `problem` (question and lettered options), `image_paths`, `answer` (a letter).
`--images` is the folder that the paths start from.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, letter, text, with_marks
from ovrl.errors import RecordError

_INSTRUCTION = "Answer with the option's letter from the given choices directly."


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample, without the instruction about the form of the answer."""
    del seed
    paths = images(row, "image_paths")
    question, mark, options = text(row, "problem").replace(_INSTRUCTION, "").partition("(A)")
    option = letter(text(row, "answer"))
    if option is None:
        raise RecordError("answer", f"{row['answer']!r} is no option letter")
    return [
        {
            "images": paths,
            "problem": with_marks(f"{question.rstrip()}\nChoices:\n{mark}{options}" if mark else question, len(paths)),
            "answer": [option],
            "answer_type": "multiple-choice",
            "problem_type": "grounding",
            "prompt_type": "normal",
            "source": "vigorl-sa",
        }
    ]
