"""Score SVG drawings: what they look like, and the tokens and tags that they share with the gold."""

import io
import re
from typing import Any, NoReturn
from xml.etree.ElementTree import ParseError

import numpy as np
from cairocffi import CairoError
from cairosvg.surface import PNGSurface
from PIL import Image
from skimage.metrics import structural_similarity

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer, spoken
from ovrl.reward.markup import last_fence, name_jaccard, same_markup, token_jaccard
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds

IMAGE_WEIGHT, TOKEN_WEIGHT, TAG_WEIGHT = 0.5, 0.25, 0.25
SIZE = 336
"""Pixels of the rendered drawing, both ways."""
MAX_RENDERED = 50_000
"""A text of this many characters or more is compared as text alone."""

_TOKEN = re.compile(r"#[0-9A-Fa-f]+|\w+|[<>=/\"]")
# Both are only applied to text that ends in ">", so that no match runs into the end again and again.
_OPENING = re.compile(r"<([A-Za-z]+)[^>]*+>")
_SVG_START = re.compile(r"<svg[^>]*+>", re.IGNORECASE)
_SVG_END = re.compile(r"</svg>", re.IGNORECASE)
# What cairosvg and its parsers raise on a drawing that is none; anything else is our bug.
_RENDER_ERRORS = (
    ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, MemoryError,
    OSError, ParseError, CairoError,
)  # fmt: skip

_FENCE = re.compile(r"```(?:svg|xml)?", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z]+)([^<>]*+)>")


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 0.5 * SSIM + 0.25 * token Jaccard + 0.25 * tag Jaccard, clamped to [0, 1].

    1 when the sources are equal but for layout. The image part is 0 when either does not render or is
    too long. `strict` closes a drawing that was cut off; `ov15` also "closes" self-closed elements, so
    that next to nothing that was cut off renders.
    """
    if not question.answer or (mode == "strict" and not usable_golds(question)):
        return unscored("invalid_gold")
    source = _source(completion, mode).strip()
    if "<svg" not in source.lower():
        return missed("parse_error" if source else "no_answer", source)
    golds = usable_golds(question) if mode == "strict" else question.answer
    return graded(max(_similarity(gold.strip(), source, mode) for gold in golds), source)


def _source(completion: str, mode: Mode) -> str:
    """Return the answer if it is a drawing, else the last drawing, the last fence, or all of the text."""
    answer = final_answer(completion, mode)
    if answer is not None and "<svg" in answer.lower():
        return answer
    text = spoken(completion, mode)
    if drawing := _last_drawing(text):
        return drawing
    fenced = last_fence(text, _FENCE)
    return fenced if fenced is not None and "<svg" in fenced.lower() else text


def _last_drawing(text: str) -> str | None:
    drawing, position = None, 0
    text = text[: text.rfind(">") + 1]
    while start := _SVG_START.search(text, position):
        end = _SVG_END.search(text, start.end())
        if end is None:
            break
        drawing, position = text[start.start() : end.end()], end.end()
    return drawing


def _similarity(gold: str, source: str, mode: Mode) -> float:
    if same_markup(gold, source):
        return 1.0
    if mode == "strict":
        gold, source = _closed(gold), _closed(source)
    tokens = token_jaccard(gold, source, _TOKEN)
    tags = name_jaccard(gold[: gold.rfind(">") + 1], source[: source.rfind(">") + 1], _OPENING)
    image = 0.0
    if len(gold) < MAX_RENDERED and len(source) < MAX_RENDERED:
        if mode == "ov15":
            gold, source = _closed_ov15(gold), _closed_ov15(source)
        image = _looks_alike(gold, source)
    return min(1.0, max(0.0, IMAGE_WEIGHT * image + TOKEN_WEIGHT * tokens + TAG_WEIGHT * tags))


def _looks_alike(gold: str, source: str) -> float:
    """Return the SSIM of the two drawings over RGB; 0 when one of them does not render."""
    try:
        want, got = _rendered(gold), _rendered(source)
    except _RENDER_ERRORS:
        return 0.0
    similarity: Any = structural_similarity(want, got, data_range=255, channel_axis=-1)
    return float(similarity)


def _rendered(source: str) -> Any:
    """Return the drawing on white as float64 [SIZE, SIZE, 3]."""
    png: Any = PNGSurface.convert(
        bytestring=source.encode(),
        output_width=SIZE,
        output_height=SIZE,
        background_color="white",
        unsafe=False,
        url_fetcher=_refuse,
    )
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def _refuse(url: str, resource_type: str = "") -> NoReturn:
    """Refuse to read anything that a drawing refers to, be it a file or an address."""
    raise PermissionError(f"a drawing may not read {resource_type or 'a file'}: {url[:80]}")


def _closed(source: str) -> str:
    """Return a drawing that was cut off without its unfinished tag and with all elements closed."""
    if source.endswith("</svg>"):
        return source
    source = _finished(source)
    return source + "".join(f"</{name}>" for name in reversed(_open_elements(source)))


def _closed_ov15(source: str) -> str:
    """Do the same by counting tags per name, where an element that closed itself counts as open."""
    if source.endswith("</svg>"):
        return source
    source = _finished(source)
    counts: dict[str, int] = {}
    for match in _TAG.finditer(source):
        counts[match[2]] = counts.get(match[2], 0) + (-1 if match[1] else 1)
    source += "".join(f"</{name}>" * counts[name] for name in reversed(counts))
    return source if source.endswith("</svg>") else source + "</svg>"


def _finished(source: str) -> str:
    return source[: source.rfind("<")] if source.rfind("<") > source.rfind(">") else source


def _open_elements(source: str) -> list[str]:
    stack: list[str] = []
    for match in _TAG.finditer(source):
        if match[1]:
            if match[2] in stack:
                while stack.pop() != match[2]:
                    pass
        elif not match[3].endswith("/"):
            stack.append(match[2])
    return stack
