"""What HTML and SVG rewards share: normalized equality, Jaccard similarity, code fences, styles."""

import re
from collections.abc import Iterator

_SPACE = re.compile(r"\s+")


def same_markup(gold: str, answer: str) -> bool:
    """Tell whether two texts are equal but for white space, kind of quotes, comments and case."""
    return _normal(gold) == _normal(answer)


def without_comments(text: str) -> str:
    """Return the text without complete `<!-- ... -->` comments, in linear time."""
    parts: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        end = text.find("-->", start + 4)
        if end < 0:
            break
        parts.append(text[position:start])
        position = end + 3
    return "".join(parts) + text[position:]


def token_jaccard(gold: str, answer: str, token: re.Pattern[str]) -> float:
    """Return the Jaccard similarity of the sets of lower-cased tokens; 0 when the gold has none."""
    return _jaccard(set(token.findall(gold.lower())), set(token.findall(answer.lower())))


def name_jaccard(gold: str, answer: str, name: re.Pattern[str]) -> float:
    """Return the Jaccard similarity of the sets of lower-cased tag names; 0 when the gold has none."""
    return _jaccard({found.lower() for found in name.findall(gold)}, {found.lower() for found in name.findall(answer)})


def last_fence(text: str, opening: re.Pattern[str]) -> str | None:
    """Return the content of the last complete code fence, or None."""
    content, position = None, 0
    while start := opening.search(text, position):
        end = text.find("```", start.end())
        if end < 0:
            break
        content, position = text[start.end() : end], end + 3
    return content


def style_rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Yield (selectors, declarations) of a CSS sheet, those inside at-rules too; a broken one is cut short."""
    for block in sheet.split("}"):
        head, brace, declarations = block.rpartition("{")
        if brace:
            yield head.rpartition("{")[2], declarations


def _jaccard(gold: set[str], answer: set[str]) -> float:
    return len(gold & answer) / len(gold | answer) if gold else 0.0


def _normal(text: str) -> str:
    return without_comments(_SPACE.sub(" ", text).replace('"', "'")).strip().lower()
