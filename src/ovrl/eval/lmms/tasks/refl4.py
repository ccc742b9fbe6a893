"""Ref-L4: the box of what a long expression refers to (arXiv 2406.16866). Boxes in the data are x, y, width, height."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ovrl.records import Question
from ovrl.reward import box
from ovrl.reward.extract import final_answer, spoken

IMAGES = "OVRL_REF_L4_IMAGES"
"""Names the directory that `images.tar.gz` of the data set was unpacked into."""

_THRESHOLDS = tuple(share / 100 for share in range(50, 100, 5))


def doc_to_visual(doc: Mapping[str, Any]) -> list[Image.Image]:
    """Return the image: that of the row, or the file that it names."""
    if doc.get("image") is not None:
        return [doc["image"].convert("RGB")]
    folder = Path(os.environ.get(IMAGES, ""))
    for file in (folder / doc["file_name"], folder / "images" / doc["file_name"]):
        if file.is_file():
            return [Image.open(file).convert("RGB")]
    raise FileNotFoundError(f"no {doc['file_name']} in {folder}; unpack the data set's images.tar.gz and set {IMAGES}")


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """Return the question. The scale is said, so that no convention of a model is favoured."""
    return (
        f"Where in the image is this: {doc['caption']}\nGive its bounding box as [x1, y1, x2, y2]: the left, top, "
        "right and bottom edge, from 0 to 1000 of the image's width and height."
    )


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return the IoU of the stated box, and whether it is above the thresholds (the authors' code: above, not at)."""
    left, top, width, height = (float(value) for value in doc["bbox"])
    question = Question(
        answer=(str([left, top, left + width, top + height]),),
        answer_type="bbox",
        meta={
            "bbox": {
                "scale": "pixel",
                "width": doc["width"],
                "height": doc["height"],
                "completion_scale": "norm1000",
            }
        },
    )
    said = final_answer(results[0], "strict")
    iou = box.score(question, f"<answer>{spoken(results[0], 'strict') if said is None else said}</answer>", "strict")
    value = round(iou.reward or 0.0, 9)  # what is one half has to be one half
    above = [float(value > threshold) for threshold in _THRESHOLDS]
    return {
        "acc_50": above[0],
        "acc_75": above[5],
        "macc": sum(above) / len(above),
        "iou": value,
    }
