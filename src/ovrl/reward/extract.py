"""Find the final answer of a completion: what stands in the last `<answer>` block.

Everything here is linear in the length of the text: tags are searched one after the other, never with
a lazy pattern that starts again at every opening tag.
"""

import re

from ovrl.reward.outcome import Mode

_THINK_OPEN = re.compile(r"<think>", re.IGNORECASE)
_THINK_TAG = re.compile(r"<(/?)think>", re.IGNORECASE)
_THINK_CLOSE = re.compile(r"</think>", re.IGNORECASE)
_TRAILING_SPECIAL = re.compile(r"<\|[A-Za-z0-9_]{1,40}\|>\s*\Z")
_GUESS = re.compile(
    r"(?:\b(?:may|might|could|maybe|perhaps|possibly|probably|guess|suppose|unsure)\b\W*(?:\w+\W+){0,2}"
    r"|(?:可能|也许|或许|大概)\w{0,3}\W*)\Z",
    re.IGNORECASE,
)
"""Ends what is said right before a block that only considers an answer: "it may be", "perhaps it is"."""
_BEFORE = 40
_OPEN, _CLOSE = "<answer>", "</answer>"

lone_answer = re.compile(
    r"[^<]*+(?:</think>[^<]*+)?+(?:<think>[^<]*+</think>[^<]*+)*+"
    r"<answer>([^<]*+)</answer>[^<]*+(?:<\|[A-Za-z0-9_]{1,40}\|>\s*+)?+"
).fullmatch
"""Matches one answer block, perhaps behind thoughts and before a special token, with no other "<" anywhere: in both
modes it is the final answer."""


def answer_blocks(text: str) -> list[str]:
    """Return the content of every complete answer block, left to right, unstripped."""
    return [text[start:end] for start, end in _answer_spans(text)]


def think_blocks(text: str) -> list[str]:
    """Return the content of every complete think block, left to right, in any case of letters."""
    blocks: list[str] = []
    position = 0
    while opened := _THINK_OPEN.search(text, position):
        closed = _THINK_CLOSE.search(text, opened.end())
        if closed is None:
            break
        blocks.append(text[opened.end() : closed.start()])
        position = closed.end()
    return blocks


def without_thinking(text: str) -> str:
    """Return what is said outside complete think blocks.

    A closing tag without an opening one ends thinking that the prompt's template opened, so that all
    before it goes too. A block that is never closed was cut off and stays.
    """
    parts: list[str] = []
    opened: int | None = None
    position = 0
    for tag in _THINK_TAG.finditer(text):
        if not tag[1]:
            opened = tag.start() if opened is None else opened
            continue
        if opened is None:
            parts.clear()
        else:
            parts.append(text[position:opened])
        opened, position = None, tag.end()
    return "".join(parts) + text[position:]


def spoken(completion: str, mode: Mode) -> str:
    """Return the part of a completion that may be graded.

    `ov15` grades everything, as the original did; `strict` leaves out the thinking and the special
    tokens at the end.
    """
    if mode == "ov15":
        return completion
    text = without_thinking(completion)
    end = len(text)
    while "|>" in text[max(0, end - 60) : end] and (match := _TRAILING_SPECIAL.search(text, max(0, end - 60), end)):
        end = match.start()
    return text[:end]


def final_answer(completion: str, mode: Mode) -> str | None:
    """Return the content of the last answer block that may be graded, or None when there is none.

    In a thought that was never closed, `strict` takes the last block as the answer unless it is called a guess.
    """
    if lone := lone_answer(completion):
        return lone[1]
    text = spoken(completion, mode)
    spans = _answer_spans(text)
    if not spans:
        return None
    start, end = spans[-1]
    if mode == "strict" and _THINK_OPEN.search(text, 0, start):
        start_of_tag = start - len(_OPEN)
        if _GUESS.search(text[max(0, start_of_tag - _BEFORE) : start_of_tag]):
            return None
    return text[start:end]


def _answer_spans(text: str) -> list[tuple[int, int]]:
    """Return where the content of each complete answer block starts and ends."""
    spans: list[tuple[int, int]] = []
    position = 0
    while (start := text.find(_OPEN, position)) >= 0:
        start += len(_OPEN)
        end = text.find(_CLOSE, start)
        if end < 0:
            break
        spans.append((start, end))
        position = end + len(_CLOSE)
    return spans
