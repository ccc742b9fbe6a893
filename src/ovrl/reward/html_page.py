"""What a web page says and shows: its words in order, those that are its own, and how many can be seen.

One pass over the tags, linear in the length of the text and without building a tree: pages are as hostile as
any answer.
"""

import re
from dataclasses import dataclass

from ovrl.reward.markup import style_rules, without_comments

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")  # CJK has no spaces
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]*+)([^<>]*+)>")
_DECLARATION = re.compile(r"<[!?][^<>]*+>")
_ATTRIBUTE = re.compile(r"([A-Za-z][A-Za-z0-9:-]*+)(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++))?+")
_SELECTOR = re.compile(r"(?:html\s+|body\s+|>\s*)*(\*|[a-z][a-z0-9-]*)?([.#][\w-]+)?", re.IGNORECASE)

# Attributes whose values belong to HTML, not to the picture.
_VOCABULARY = frozenset(
    ("lang", "type", "charset", "rel", "method", "name", "content", "http-equiv", "media", "target", "dir", "role")
)
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_NOT_TEXT = frozenset(("script", "style", "title"))
_NEVER_SHOWN = frozenset(("template", "noscript", "datalist", "noembed", "noframes"))

_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|content-visibility\s*:\s*hidden"
    r"|(?<![\w-])opacity\s*:\s*(?:0+(?:\.0*)?|\.0+)%?\s*(?:[;!]|\Z)|(?<![\w-])opacity\s*:\s*0?\.0\d"
    r"|font-size\s*:\s*0+(?:\.0*)?(?:[a-z%]*)\s*(?:[;!]|\Z)|(?<![\w-])color\s*:\s*transparent"
    r"|(?:left|right|top|bottom|text-indent)\s*:\s*-\d{4}|scale\(\s*0+(?:\.0*)?\s*[,)]"
)
_QUOTES = "\"'"
_COLORS = re.compile(r"(?<![\w-])(color|background(?:-color)?)\s*:\s*([^;]+)")


@dataclass(frozen=True, slots=True)
class Page:
    """A page, as far as the gates of the HTML reward need it."""

    words: list[str]
    """Every word of the source in order: tags, attributes, styles and text."""
    content: frozenset[str]
    """Words of text, attribute values and style sheets: what differs from one picture to the next."""
    has_elements: bool
    shown: int
    """Words of text that a browser would show."""
    hidden: int
    """Words of text that a browser would not show, and all words in comments."""


def read_page(source: str) -> Page:
    """Return what a page says and shows. A comment that is never closed hides the rest, as in a browser."""
    whole = len(_WORD.findall(source))
    source, _, _ = without_comments(source).lower().partition("<!--")
    words = _WORD.findall(source)
    reader = _Reader()
    position = 0
    for tag in _TAG.finditer(source):
        if position < tag.start():
            reader.text(source[position : tag.start()])
        position = tag.end()
        (reader.close if tag[1] else reader.open)(tag[2], tag[3])
    reader.text(source[position:])
    shown, hidden = _words(reader.shown), _words(reader.hidden)
    return Page(
        words=words,
        content=frozenset(_words(reader.values) + shown + hidden),
        has_elements=position > 0,
        shown=len(shown),
        hidden=len(hidden) + whole - len(words),
    )


class _Reader:
    """Follows the tags of a page; knows whether text that stands here is shown."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.shown: list[str] = []
        self.hidden: list[str] = []
        self._inside = ""  # the element that is no text, or that is hidden, and how often it is open
        self._times = 0
        self._hiding: set[tuple[str, str]] = set()

    def text(self, text: str) -> None:
        if not self._inside:
            self.shown.append(text)
        elif self._inside not in _NOT_TEXT:
            self.hidden.append(text)
        elif self._inside != "script":
            self.values.append(text)
            if self._inside == "style":
                self._hiding.update(_hiding_selectors(text))

    def open(self, name: str, rest: str) -> None:
        attributes = {found[1]: found[2] or "" for found in _ATTRIBUTE.finditer(rest)} if rest else {}
        if attributes and self._inside != "script":
            self.values += [value for key, value in attributes.items() if key not in _VOCABULARY]
        if name in _VOID or rest.endswith("/"):
            return
        if self._inside:
            self._times += name == self._inside
        elif name in _NOT_TEXT or name in _NEVER_SHOWN or self._is_hidden(name, attributes):
            self._inside, self._times = name, 1

    def close(self, name: str, _: str) -> None:
        if name == self._inside:
            self._times -= 1
            if not self._times:
                self._inside = ""

    def _is_hidden(self, name: str, attributes: dict[str, str]) -> bool:
        if attributes and ("hidden" in attributes or _hides(attributes.get("style", "").strip(_QUOTES))):
            return True
        if not self._hiding:
            return False
        classes = attributes.get("class", "").strip(_QUOTES).split()
        parts = ["", *(f".{each}" for each in classes), f"#{attributes.get('id', '').strip(_QUOTES)}"]
        return any((tag, part) in self._hiding for tag in ("", name) for part in parts)


def _words(texts: list[str]) -> list[str]:
    text = " ".join(texts)
    return _WORD.findall(_DECLARATION.sub(" ", text) if "<" in text else text)


def _hiding_selectors(sheet: str) -> set[tuple[str, str]]:
    """Return (tag, .class or #id), either possibly empty, of the plain selectors that hide what they match."""
    found: set[tuple[str, str]] = set()
    for selectors, declarations in style_rules(sheet):
        if _hides(declarations):
            matches = (_SELECTOR.fullmatch(selector.strip()) for selector in selectors.split(","))
            found |= {((match[1] or "").strip("*"), match[2] or "") for match in matches if match}
    return found


def _hides(declarations: str) -> bool:
    if not declarations:
        return False
    if _HIDDEN.search(declarations):
        return True
    colors = dict(_COLORS.findall(declarations))
    paper = colors.get("background-color", colors.get("background"))
    return paper is not None and colors.get("color", "").strip() == paper.strip()
