"""Ref-L4 (JierunChen/Ref-L4, `ref-l4-val.parquet`).

Raw row: `id`, `file_name`, `caption`, `bbox` ([x, y, width, height] in pixels), `width`, `height`.
`--images` is the unpacked `images` folder.
"""

from typing import Any

from ovrl.curate.sources.fields import BOX_FORM, Row, text
from ovrl.errors import RecordError
from ovrl.records import IMAGE_MARK

_DIGITS = 5  # finer than a pixel of any image


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample; the gold is the box between 0 and 1, clipped to the image."""
    del seed
    left, top, box_width, box_height = map(float, row["bbox"])
    width, height = float(row["width"]), float(row["height"])
    corners = (left / width, top / height, (left + box_width) / width, (top + box_height) / height)
    box = [round(min(1.0, max(0.0, value)), _DIGITS) for value in corners]
    if box[0] >= box[2] or box[1] >= box[3]:
        raise RecordError("bbox", f"{list(row['bbox'])} is no box inside an image of {width:g} x {height:g}")
    problem = f"{IMAGE_MARK}\nFind the region that this describes: {text(row, 'caption')}\nGive its box as {BOX_FORM}."
    return [
        {
            "id": f"ref-l4-{row['id']}" if "id" in row else None,
            "images": [text(row, "file_name")],
            "problem": problem,
            "answer": [str(box)],
            "answer_type": "bbox",
            "problem_type": "grounding",
            "prompt_type": "normal",
            "source": "ref-l4",
            "meta": {"bbox": {"scale": "norm1", "width": width, "height": height}},
        }
    ]
