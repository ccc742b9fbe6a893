"""VigoRL-SAT, spatial aptitude (`spatial_reasoning/vigorl_sat2_train_RL.json` of the VigoRL data sets).

Raw row: `problem` ("Question: ... Answer Choices: A. ... B. ..."), `image_paths`, `answer` (the text of an option).
`--images` is the folder that the paths start from.
"""

import hashlib
import re
from typing import Any

from ovrl.curate.sources.fields import Row, images, letter, lettered, text, with_marks
from ovrl.errors import RecordError
from ovrl.records import derive_seed

_INSTRUCTION = "Answer with the text of the option."
_OPTION = re.compile(r"\s*\(?[A-Za-z][.):]\s*(.*\S)\s*")


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample: with its options and a letter, or, for half of them, as an open question.

    Which half depends on the seed and on what the row says, not on its place.
    """
    paths = images(row, "image_paths")
    raw, answer = text(row, "problem"), text(row, "answer")
    question, heading, listed = raw.replace(_INSTRUCTION, "").partition("Answer Choices:")
    found = [_OPTION.fullmatch(line) for line in listed.splitlines() if line.strip()]
    options = [match[1] for match in found if match]
    if not heading or len(options) != len(found) or answer not in options:
        raise RecordError("problem", f"the answer {answer!r} is none of the options {options}")
    question = question.replace("Question: ", "", 1).strip()
    digest = hashlib.sha256("\x1f".join([raw, answer, *map(str, paths)]).encode()).hexdigest()[:16]
    gold, answer_type = answer, _open_type(answer)
    if derive_seed(seed, "vigorl-sat", digest) % 2:
        gold, answer_type = lettered(options)[options.index(answer)][0], "multiple-choice"
        question += "\nChoices:\n" + "\n".join(f"({mark}) {option}" for mark, option in lettered(options))
    return [
        {
            "id": f"vigorl-sat-{digest}",
            "images": paths,
            "problem": with_marks(question, len(paths)),
            "answer": [gold],
            "answer_type": answer_type,
            "problem_type": "spatial-reasoning",
            "prompt_type": "thinking",
            "source": "vigorl-sat",
        }
    ]


def _open_type(answer: str) -> str:
    """Return the rule of an answer that is given without options."""
    if len(answer) == 1 and answer.isupper() and letter(answer, last="J"):
        return "multiple-choice"  # a letter that is drawn in the picture
    if answer.lower() in {"true", "false", "yes", "no"}:
        return "boolean"
    return "number" if answer.isascii() and answer.isdigit() else "any"
