"""Score bounding boxes by intersection over union.

IoU does not change when both boxes are scaled alike, so boxes are compared as they stand. Only when
the data set says that completions use another scale than the gold are both brought to 0..1:

    meta["bbox"] = {"scale": "pixel", "width": 640, "height": 480, "completion_scale": "norm1000"}

Scales: "pixel" (needs width and height), "norm1" (0..1), "norm1000" (0..1000).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored

Box = tuple[float, float, float, float]

# Atomic parts throughout: a list that does not end properly must fail in linear time.
_NUMBER = r"[-+]?(?>\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?+"
_FOUR = rf"\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+"
_BOX = re.compile(rf"\[{_FOUR}\]|\({_FOUR}\)")
_PLAIN = r"[-+]?(?>\d++(?:\.\d++)?|\.\d++)(?:[eE][-+]?\d++)?"
_LIST = re.compile(rf"\[\s*+({_PLAIN}(?:\s*+,\s*+{_PLAIN})*+)\s*+\]")

_GUESSES = 3
"""From this many different boxes on, an answer is a list of guesses."""


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return the IoU of the stated box with the best gold box.

    `strict` reads the first group of four numbers in `[]` or `()`; its corners must be in order and
    finite. `ov15` reads the first bracket, whatever its length, and checks nothing.
    """
    if mode == "ov15":
        return _score_ov15(question, final_answer(completion, mode))
    stated = [_box(match) for gold in question.answer if (match := _BOX.search(gold))]
    if not stated:
        return unscored("invalid_gold")
    golds = [box for box in stated if _is_proper(box)]
    answer = final_answer(completion, mode)
    if answer is None or not answer.strip():
        return missed("no_answer", answer)
    boxes = [_box(match) for match in _BOX.finditer(answer)]
    if not boxes:
        return missed("parse_error", answer.strip())
    if len(set(boxes)) >= _GUESSES:
        return missed("ambiguous", answer.strip())
    if not _is_proper(boxes[0]):
        return missed("parse_error", answer.strip())
    if not golds:  # the corpus' careful grader has 0 here, and `ovrl data check` finds such golds
        return replace(graded(0.0, answer.strip()), note="no gold box has an area: nothing can overlap it")
    scales = question.meta.get("bbox")
    if scales is None or not isinstance(scales, Mapping) or "completion_scale" not in scales:
        return graded(max(_safe_iou(boxes[0], gold) for gold in golds), answer.strip())
    gold_unit = _unit(scales, "scale")
    box_unit = _unit(scales, "completion_scale")
    if gold_unit is None or box_unit is None:
        return unscored("invalid_gold", answer.strip())
    got = _divided(boxes[0], box_unit)
    return graded(max(_safe_iou(got, _divided(gold, gold_unit)) for gold in golds), answer.strip())


def _box(match: re.Match[str]) -> Box:
    left, top, right, bottom = match.group(1, 2, 3, 4) if match[1] is not None else match.group(5, 6, 7, 8)
    return float(left), float(top), float(right), float(bottom)


def _is_proper(box: Box) -> bool:
    # Written so that neither infinity nor NaN passes.
    return -math.inf < box[0] < box[2] < math.inf and -math.inf < box[1] < box[3] < math.inf


def _unit(scales: Mapping[Any, Any], key: str) -> tuple[float, float] | None:
    """Return what one image is wide and high in a scale; None when that is not known."""
    scale = scales.get(key)
    if scale == "norm1":
        return 1.0, 1.0
    if scale == "norm1000":
        return 1000.0, 1000.0
    width, height = scales.get("width"), scales.get("height")
    if scale != "pixel" or not isinstance(width, int | float) or not isinstance(height, int | float):
        return None
    return (float(width), float(height)) if width > 0 and height > 0 else None


def _divided(box: Box, unit: tuple[float, float]) -> Box:
    return box[0] / unit[0], box[1] / unit[1], box[2] / unit[0], box[3] / unit[1]


def _iou(a: Box, b: Box) -> float:
    """Return intersection over union, signed areas and all; NaN when it is not defined."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = _area(a) + _area(b) - shared
    return shared / union if union else math.nan


def _safe_iou(a: Box, b: Box) -> float:
    """Return the IoU of proper boxes, whose areas may be too small or too large for a float."""
    value = _iou(a, b)
    if math.isfinite(value):
        return value
    largest = max(map(abs, (*a, *b)))
    value = _iou(_divided(a, (largest, largest)), _divided(b, (largest, largest)))
    return value if math.isfinite(value) else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _score_ov15(question: Question, answer: str | None) -> Score:
    if not question.answer:
        return unscored("invalid_gold", answer)
    best: float | None = None
    got = _first_list(answer or "")
    for gold in question.answer:
        want = _first_list(gold)
        if got is None or want is None:
            value = 0.0
        else:
            value = _iou(got, want)
            if not math.isfinite(value):
                # Here the original divided by zero or returned NaN.
                continue
        best = value if best is None else max(best, value)
    if best is None:
        return missed("parse_error", answer)
    return graded(best, answer)


def _first_list(text: str) -> Box | None:
    """Return the first bracketed list of plain numbers if it has four, as the original read it."""
    match = _LIST.search(text)
    values = [float(part) for part in match[1].split(",")] if match else []
    return (values[0], values[1], values[2], values[3]) if len(values) == 4 else None
