"""RefSpatial (JSON files such as `2D/choice_qa.json` or `3D/vacant_qa.json`).

Raw row: `id`, `image` (path or list of paths), `conversations` (human and gpt in turn). Each file has its own folder
of images: convert them one by one, with `--images`. Depth maps are not used.
"""

import re
from typing import Any

from ovrl.curate.sources.fields import BOX_FORM, Row, images, text, with_marks
from ovrl.errors import RecordError

_NUMBER = r"\s*([0-9]*\.?[0-9]+)\s*"
_OPTION = re.compile(r"\s*\(([A-Z])\)")
_POINT = re.compile(rf"\({_NUMBER},{_NUMBER}\)")
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_STARTS_POINTS = re.compile(rf"\s*\[\s*\({_NUMBER},{_NUMBER}\)")
_STARTS_BOXES = re.compile(rf"\s*\[\s*\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_INSTRUCTION = re.compile(r"\s*Your answer should be formatted as a list of tuples.*\Z", re.DOTALL)

_HALF_BOX = 0.05
"""Half the side of the box that stands for a point, as a share of the image."""


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return one sample for each pair of turns; the form of the gold tells the rule.

    "(A) ..." is a choice. Points and boxes are boxes, each of them an accepted answer; a point stands for the box
    around it. Anything else must be repeated exactly.
    """
    del seed
    paths = images(row, "image")
    turns = row["conversations"]
    if len(turns) % 2 or [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        raise RecordError("conversations", "turns of human and gpt, one after the other, are expected")
    return [
        _sample(text(ask, "value"), text(reply, "value"), paths)
        for ask, reply in zip(turns[::2], turns[1::2], strict=True)
    ]


def _sample(problem: str, answer: str, paths: list[Any]) -> dict[str, Any]:
    golds, answer_type = [answer], "critic"
    if option := _OPTION.match(answer):
        golds, answer_type = [option[1]], "multiple-choice"
    elif boxes := _boxes(answer):
        golds, answer_type = [str(box) for box in boxes], "bbox"
        problem = f"{_INSTRUCTION.sub('', problem)}\nGive a box around one such place as {BOX_FORM}."
    return {
        "images": paths,
        "problem": with_marks(problem, len(paths)),
        "answer": golds,
        "answer_type": answer_type,
        "problem_type": "embodied",
        "prompt_type": "thinking",
        "source": "refspatial",
    }


def _boxes(answer: str) -> list[list[float]]:
    if _STARTS_POINTS.match(answer):
        points = [(float(x), float(y)) for x, y in _POINT.findall(answer)]
        around = [(x - _HALF_BOX, y - _HALF_BOX, x + _HALF_BOX, y + _HALF_BOX) for x, y in points]
        return [[round(min(1.0, max(0.0, value)), 5) for value in box] for box in around]
    if _STARTS_BOXES.match(answer):
        return [[float(value) for value in box] for box in _BOX.findall(answer)]
    return []
