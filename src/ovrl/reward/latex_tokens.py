"""Cut the plain part of LaTeX into tokens; refuse what the full grammar would read in a way of its own."""

import re

Token = tuple[str, str]
"""Kind and text; the kinds are number, percent (a number with its sign), letter, sign and end."""


class UnreadError(Exception):
    """The text is beyond the plain part of LaTeX."""


_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?P<percent>\\?%)?"
    r"|(?P<name>\\text\{[A-Za-z ]{1,30}\}|\\(?:begin|end)\{[bp]matrix\}"
    r"|\\(?:alpha|beta|theta|lambda|mu|omega)(?![a-zA-Z])"
    r"|[A-Za-z](?:_(?:[0-9A-Za-z](?![0-9A-Za-z])|\{[0-9]{1,3}\}))?)"
    r"|(?P<sign>\\(?:[a-zA-Z]+|[{}\\])|[-+*/^(){}\[\],;:=<>!×÷≤≥π&]))\s*"
)
_SPELLINGS = {
    "\\leq": "<=", "\\le": "<=", "\\leqslant": "<=", "≤": "<=", "\\lt": "<",
    "\\geq": ">=", "\\ge": ">=", "\\geqslant": ">=", "≥": ">=", "\\gt": ">",
    "\\times": "*", "\\cdot": "*", "×": "*", "\\div": "/", "÷": "/", ":": "/", "π": "\\pi",
}  # fmt: skip
# Letters that are more than a name, words, calls, and a lone i, which makes all complex.
_AMBIGUOUS = re.compile(
    r"(?<![A-Za-z\\])(?:[A-Za-z]{3,}|[A-Za-z]?[dDEI][A-Za-z]?|(?i:or|tr)|e[A-Za-z]|[A-Za-z]e)(?![A-Za-z])"
    r"|(?<![A-Za-z\\])(?:[A-Za-z]{1,2}(?:_\w|_\{\w+\})?\s*[(\[]|e\s*[\^_])|(?:\\pi|π)\s*[(\[]"
    r"|\bi\b|'|\^\s*\\|\^\{\s*\\|\^\s*T|\^\{\s*T"
)
_WORDS = re.compile(r"\\text\{[^{}]*\}|\\(?:begin|end)\{[bp]matrix\}")


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a text, and one of kind `end`; UnreadError for what has none."""
    if _AMBIGUOUS.search(_WORDS.sub(" ", text)):
        raise UnreadError
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.end() == position:
            raise UnreadError
        if match["number"]:
            tokens.append(("percent" if match["percent"] else "number", match["number"]))
        elif match["name"]:
            name = match["name"]
            tokens.append(("sign" if name.startswith(("\\begin", "\\end")) else "letter", name))
        else:
            tokens.append(("sign", _SPELLINGS.get(match["sign"], match["sign"])))
        position = match.end()
    return [*tokens, ("end", "")]
