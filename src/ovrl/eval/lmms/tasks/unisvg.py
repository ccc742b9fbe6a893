"""UniSVG, drawing what an image shows as SVG code (arXiv 2508.07766).

The score is ovrl's own: half of it SSIM of the rendered drawings, the rest the tokens and tags that they share. The
authors' score needs the weights of LPIPS and CLIP, so the two are not comparable.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from ovrl.records import Question
from ovrl.reward import svg_code

_SIZE = 448


def doc_to_visual(doc: Mapping[str, Any]) -> list[Image.Image]:
    """Return the image of the row; where there is none, the gold drawing on white."""
    if doc.get("image") is not None:
        return [doc["image"].convert("RGB")]
    import cairosvg

    png: Any = cairosvg.svg2png(
        bytestring=doc["svg"].encode(), output_width=_SIZE, output_height=_SIZE, background_color="white"
    )
    return [Image.open(io.BytesIO(png)).convert("RGB")]


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """Return the question."""
    del doc
    return "Write SVG code that draws this image."


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return the similarity of the drawings."""
    question = Question(answer=(doc["svg"],), answer_type="svg-code")
    return {"svg_similarity": svg_code.score(question, results[0], "strict").reward or 0.0}
