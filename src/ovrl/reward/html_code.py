"""Score HTML pages by the tokens and tags that they share with the gold page."""

import functools
import re
from collections import Counter
from dataclasses import replace

import Levenshtein

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer, spoken
from ovrl.reward.html_page import Page, read_page
from ovrl.reward.markup import last_fence, name_jaccard, same_markup, token_jaccard, without_comments
from ovrl.reward.outcome import MAX_CHARS, Mode, graded, missed, unscored, usable_golds

TOKEN_WEIGHT, TAG_WEIGHT = 0.6, 0.4

# The formula compares sets, so it pays for what no picture shows. `strict` pays nothing for a page that ...
MIN_CONTENT = 0.04
"""... has less than this share of the gold's own words (text, attribute values, styles): a stock skeleton."""
MIN_ORDER = 0.6
"""... has less than this share of the words it has in common with the gold in the gold's order: a bag of words.
The same page with all its texts exchanged keeps 0.8; its shuffled words seldom have more than 0.6."""
_MIN_WORDS = 10
"""Fewer words are no measure of either."""

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
    if mode == "ov15":
        return graded(max(_similarity(gold.strip(), page) for gold in question.answer), page)
    results = [_gated(gold.strip(), page) for gold in usable_golds(question)]
    reward, reason = max(results, key=lambda result: result[0])
    return replace(graded(reward, page), note=reason)


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
    return 1.0 if same_markup(gold, page) else _formula(gold, page)


def _formula(gold: str, page: str) -> float:
    tokens = token_jaccard(gold, page, _TOKEN)
    tags = name_jaccard(gold, page, _TAG)
    return min(1.0, max(0.0, TOKEN_WEIGHT * tokens + TAG_WEIGHT * tags))


def _gated(gold: str, page: str) -> tuple[float, str | None]:
    """Return the similarity, or 0 and why the page is worth nothing."""
    if same_markup(gold, page):
        return 1.0, None
    reason = _refusal(_read_gold(gold[:MAX_CHARS]), read_page(page))
    return (0.0, reason) if reason else (_formula(gold, page), None)


def _refusal(gold: Page, page: Page) -> str | None:
    """Return why a page is not paid though it shares tokens and tags with the gold page, or None."""
    if gold.has_elements and not page.has_elements:
        return "text without any element is no page"
    if gold.shown and page.hidden > page.shown and 2 * page.shown < gold.shown:
        return "the page hides most of its text"
    if len(gold.content) >= _MIN_WORDS and len(gold.content & page.content) < MIN_CONTENT * len(gold.content):
        return "the page has next to none of the words that the picture shows"
    shared = (Counter(gold.words) & Counter(page.words)).total()
    # The ratio is 2 * longest common subsequence / (words of both).
    ordered = Levenshtein.ratio(gold.words, page.words) * (len(gold.words) + len(page.words)) / 2
    if shared >= _MIN_WORDS and ordered < MIN_ORDER * shared:
        return "the words of the page are in disorder"
    return None


@functools.lru_cache(maxsize=16)
def _read_gold(gold: str) -> Page:
    """Return the gold page; the completions of a group ask for it one after the other."""
    return read_page(gold)
