"""Score SVG drawings: what they look like, and the tokens and tags that they share with the gold."""

import functools
import re
from dataclasses import replace

import numpy as np

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer, spoken
from ovrl.reward.markup import last_fence, name_jaccard, same_markup, token_jaccard, without_comments
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds
from ovrl.reward.ssim import WINDOW_PIXELS, Channel, ssim
from ovrl.reward.svg_picture import picture

IMAGE_WEIGHT, TOKEN_WEIGHT, TAG_WEIGHT = 0.5, 0.25, 0.25
MAX_RENDERED = 50_000
"""A text of this many characters or more is compared as text alone."""

MIN_VISIBLE = 0.05
"""`strict` pays nothing for a drawing that shows less than this share of the gold's edges. SSIM takes empty paper
for likeness, so that a blank sheet, white on white or one plain color would earn up to 0.98."""
_VISIBLE_SPREAD = 4 * 4 * WINDOW_PIXELS * (WINDOW_PIXELS - 1)
"""A standard deviation of 4 of 255 levels within a window."""

_TOKEN = re.compile(r"#[0-9A-Fa-f]+|\w+|[<>=/\"]")
# Both are only applied to text that ends in ">", so that no match runs into the end again and again.
_OPENING = re.compile(r"<([A-Za-z]+)[^>]*+>")
_SVG_START = re.compile(r"<svg[^>]*+>", re.IGNORECASE)
_SVG_END = re.compile(r"</svg>", re.IGNORECASE)
_FENCE = re.compile(r"```(?:svg|xml)?", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z]+)([^<>]*+)>")


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 0.5 * SSIM + 0.25 * token Jaccard + 0.25 * tag Jaccard, clamped to [0, 1].

    1 when the sources are equal but for layout. The image part is 0 when either does not render or is
    too long. `strict` closes a drawing that was cut off, does not count comments and pays nothing for an
    empty sheet (`MIN_VISIBLE`); `ov15` also "closes" self-closed elements, so that next to nothing that
    was cut off renders.
    """
    if not question.answer or (mode == "strict" and not usable_golds(question)):
        return unscored("invalid_gold")
    source = _source(completion, mode).strip()
    if "<svg" not in source.lower():
        return missed("parse_error" if source else "no_answer", source)
    golds = usable_golds(question) if mode == "strict" else question.answer
    reward, reason = max((_similarity(gold.strip(), source, mode) for gold in golds), key=lambda result: result[0])
    return replace(graded(reward, source), note=reason)


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


def _similarity(gold: str, source: str, mode: Mode) -> tuple[float, str | None]:
    """Return the similarity, and why it is 0 for a drawing that shows nothing."""
    if same_markup(gold, source):
        return 1.0, None
    if mode == "strict":
        gold, source = _closed(without_comments(gold)), _closed(without_comments(source))
    tokens = token_jaccard(gold, source, _TOKEN)
    tags = name_jaccard(gold[: gold.rfind(">") + 1], source[: source.rfind(">") + 1], _OPENING)
    image = 0.0
    if len(gold) < MAX_RENDERED and len(source) < MAX_RENDERED:
        if mode == "ov15":
            gold, source = _closed_ov15(gold), _closed_ov15(source)
        want = _reference(gold)
        got = picture(source) if want else None
        if want and got:
            if mode == "strict" and _visible_windows(got) < MIN_VISIBLE * _visible_windows(want):
                return 0.0, "the drawing shows next to nothing of what the gold shows"
            image = ssim(want, got)
    return min(1.0, max(0.0, IMAGE_WEIGHT * image + TOKEN_WEIGHT * tokens + TAG_WEIGHT * tags)), None


@functools.lru_cache(maxsize=16)
def _reference(gold: str) -> list[Channel] | None:
    """Return the gold picture; the completions of a group ask for it one after the other."""
    return picture(gold)


forget_references = _reference.cache_clear
"""Forgets the gold pictures, for measurements."""


def _visible_windows(channels: list[Channel]) -> int:
    """Return how many SSIM windows hold a contrast that can be seen, in the channel that has most."""
    return max(int(np.count_nonzero(channel.spread > _VISIBLE_SPREAD)) for channel in channels)


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
