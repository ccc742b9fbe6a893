"""Design2Code, writing the HTML of a page from its picture (arXiv 2403.03163).

The score is the similarity of texts and tags, which is what training pays for. It is not the authors' block match and
visual similarity, which need the rendered page.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from ovrl.records import Question
from ovrl.reward import html_code


def doc_to_visual(doc: Mapping[str, Any]) -> list[Image.Image]:
    """Return the picture of the page."""
    return [doc["image"].convert("RGB")]


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """Return the question."""
    del doc
    return "Write the HTML of this page, with its CSS in the same file."


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return the similarity of the pages' texts and tags."""
    question = Question(answer=(doc["text"],), answer_type="html-code")
    return {"text_tag_similarity": html_code.score(question, results[0], "strict").reward or 0.0}
