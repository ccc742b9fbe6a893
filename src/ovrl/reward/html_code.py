"""Score HTML pages by the tokens and tags that they share with the gold page."""

import re

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer, spoken
from ovrl.reward.markup import last_fence, name_jaccard, same_markup, token_jaccard, without_comments
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds

TOKEN_WEIGHT, TAG_WEIGHT = 0.6, 0.4

_TOKEN = re.compile(r"\w+|[<>=/\"]")
_TAG = re.compile(r"<(/?[A-Za-z0-9_]+)")
_PAGE_START = re.compile(r"<!doctype html>|<html>", re.IGNORECASE)
_PAGE_END = re.compile(r"</html>", re.IGNORECASE)
_FENCE = re.compile(r"```(?:html)?", re.IGNORECASE)


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 0.6 * token Jaccard + 0.4 * tag Jaccard, or 1 when the pages are equal but for layout.

    Without an answer block the last page in the text is taken, then the last code fence, then all of
    the text. `strict` takes none of them from the thinking, and a page of nothing but comments is no answer.
    """
    if not question.answer or (mode == "strict" and not usable_golds(question)):
        return unscored("invalid_gold")
    page = _page(completion, mode)
    if mode == "strict" and not without_comments(page).strip():
        return missed("no_answer", page)
    golds = usable_golds(question) if mode == "strict" else question.answer
    return graded(max(_similarity(gold.strip(), page) for gold in golds), page)


def _page(completion: str, mode: Mode) -> str:
    answer = final_answer(completion, mode)
    if answer is not None:
        return answer.strip()
    text = spoken(completion, mode)
    return (_last_page(text) or last_fence(text, _FENCE) or text).strip()


def _last_page(text: str) -> str | None:
    """Return the last stretch from a page's beginning to its end, or to the end of the text."""
    page, position = None, 0
    while start := _PAGE_START.search(text, position):
        end = _PAGE_END.search(text, start.end())
        position = end.end() if end else len(text)
        page = text[start.start() : position]
    return page


def _similarity(gold: str, page: str) -> float:
    if same_markup(gold, page):
        return 1.0
    tokens = token_jaccard(gold, page, _TOKEN)
    tags = name_jaccard(gold, page, _TAG)
    return min(1.0, max(0.0, TOKEN_WEIGHT * tokens + TAG_WEIGHT * tags))
