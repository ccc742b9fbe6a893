"""Find the final answer of a completion: what stands in the last `<answer>` block.

Everything here is linear in the length of the text: tags are searched one after the other, never with
a lazy pattern that starts again at every opening tag.
"""

import re

from ovrl.reward.outcome import Mode

_THINK_OPEN = re.compile(r"<think>", re.IGNORECASE)
_THINK_CLOSE = re.compile(r"</think>", re.IGNORECASE)
_TRAILING_SPECIAL = re.compile(r"<\|[A-Za-z0-9_]{1,40}\|>\s*\Z")
_OPEN, _CLOSE = "<answer>", "</answer>"


def answer_blocks(text: str) -> list[str]:
    """Return the content of every complete answer block, left to right, unstripped."""
    blocks: list[str] = []
    position = 0
    while (start := text.find(_OPEN, position)) >= 0:
        end = text.find(_CLOSE, start + len(_OPEN))
        if end < 0:
            break
        blocks.append(text[start + len(_OPEN) : end])
        position = end + len(_CLOSE)
    return blocks


def think_blocks(text: str) -> list[str]:
    """Return the content of every complete think block, left to right, in any case of letters."""
    return [text[start:end] for _, start, end, _ in _think_spans(text)]


def without_thinking(text: str) -> str:
    """Return what is said outside complete think blocks.

    A closing tag without an opening one ends thinking that the prompt's template opened, so that all
    before it goes too. A block that is never closed was cut off and stays.
    """
    parts: list[str] = []
    position = 0
    for outer_start, _, _, outer_end in _think_spans(text):
        parts.append(text[position:outer_start])
        position = outer_end
    rest = "".join(parts) + text[position:]
    closes = list(_THINK_CLOSE.finditer(rest))
    return rest[closes[-1].end() :] if closes else rest


def spoken(completion: str, mode: Mode) -> str:
    """Return the part of a completion that may be graded.

    `ov15` grades everything, as the original did; `strict` leaves out the thinking and the special
    tokens at the end.
    """
    if mode == "ov15":
        return completion
    text = without_thinking(completion)
    while match := _TRAILING_SPECIAL.search(text, max(0, len(text) - 60)):
        text = text[: match.start()]
    return text


def final_answer(completion: str, mode: Mode) -> str | None:
    """Return the content of the last answer block that may be graded, or None when there is none."""
    blocks = answer_blocks(spoken(completion, mode))
    return blocks[-1] if blocks else None


def _think_spans(text: str) -> list[tuple[int, int, int, int]]:
    """Return (outer start, inner start, inner end, outer end) of each complete block."""
    spans: list[tuple[int, int, int, int]] = []
    position = 0
    while opened := _THINK_OPEN.search(text, position):
        closed = _THINK_CLOSE.search(text, opened.end())
        if closed is None:
            break
        spans.append((opened.start(), opened.end(), closed.start(), closed.end()))
        position = closed.end()
    return spans
