"""Decide whether two mathematical answers mean the same: letters, quantities, lists, expressions.

Text is tidied and taken apart here, with plain arithmetic on exact fractions. Only what is left over
goes to the computer algebra, which the caller passes in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from ovrl.reward.number import candidates

IsSameLatex = Callable[[str, str], bool]

_MAX_DEPTH = 3
_MAX_DIGITS = 400

_WRAPPERS = ("\\boxed{", "\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "\\mbox{")
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|therefore|hence),?\s+)?(?:the\s+)?(?:final\s+)?answer\s*(?:is|:|=)\s*:?\s*|答案(?:是|为)?[::]?"
    r"|(?:about|approximately|approx\.?|roughly)\s+|约|≈\s*",
    re.IGNORECASE,
)
_LEAD_OUT = re.compile(r"(?:\.\s*I hope it is correct)?[.。]?\s*\Z")
_SYMBOLS = {
    "−": "-", "–": "-", "×": "\\times ", "·": "\\cdot ", "÷": "\\div ", "π": "\\pi ", "∞": "\\infty ",
    "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "√": "\\sqrt ", "°": "", "±": "\\pm ",
    "\\left": "", "\\right": "", "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\%": "%", "\\$": "$",
    "^\\circ": "", "^{\\circ}": "", "\\{": "{", "\\}": "}", "\\,": " ", "\\;": " ", "\\!": "", "~": " ",
    "+\\infty": "\\infty", "bmatrix": "pmatrix",
}  # fmt: skip
_SCIENTIFIC = re.compile(
    r"(?<![A-Za-z0-9.])([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:\s*(?:x|\*)\s*10\^|[eE]\+?)(?=\{?-?[0-9])\{?(-?[0-9]{1,3})\}?"
)

_NAME = r"(?:[A-Za-z][A-Za-z0-9_]{0,15}|\\[a-z]{2,8})"
_ASSIGNMENT = re.compile(rf"({_NAME}(?:_\{{?\w{{1,4}}\}}?)?)\s*=(?!=)\s*(.+)", re.DOTALL)

_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}(?:\.[0-9]+)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
_QUANTITY = re.compile(
    rf"(?P<sign>[-+])?\s*[$€£¥]?\s*(?:(?P<whole>[0-9]{{1,9}})(?=\s*\\frac|\s+[0-9]+\s*/)\s*)?"
    rf"(?:\\frac\{{\s*(?P<above>-?{_DECIMAL})\s*\}}\{{\s*(?P<below>{_DECIMAL})\s*\}}"
    rf"|(?P<number>{_DECIMAL})(?:\s*[/:]\s*(?P<under>{_DECIMAL}))?)"
    r"(?:\s*(?:\\times|\\cdot)\s*10\s*\^\s*\{?(?P<power>-?[0-9]{1,3})\}?)?\s*(?P<unit>.*)",
    re.DOTALL,
)
_UNIT = re.compile(r"(?:[^0-9=<>+*/^\\()\[\]{},;!|²³]+(?:/\s*[A-Za-z]{1,8})?(?:\^?\{?[23]\}?|[²³])?)?")
# A single letter after a number is a unit only if it is one; "2x" is a product.
_UNIT_LETTERS = frozenset("mgsNJWVLAKCFhl")
_PERCENT = re.compile(r"%|percent(?:age)?|pct", re.IGNORECASE)

_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SPELLED_SIGN = re.compile(r"\b(?:minus|negative)\b", re.IGNORECASE)
"""The corpus takes "negative 5" for no way to write a value, be it -5 or 5."""
_FUNCTIONS = frozenset({"sin", "cos", "tan", "log", "exp", "sqrt", "arcsin", "arccos", "arctan", "lim", "max", "min"})
_OPTION = re.compile(r"(?:(?:option|choice)\s+)?\(?\s*([A-Za-z])\s*[).:]*", re.IGNORECASE)
_NAMED_OPTION = re.compile(r"\(([A-Z])\)\s*[^\s^*/+=-].*", re.DOTALL)
_LISTED_OPTION = re.compile(r"([A-Z])[.):]\s+.+", re.DOTALL)
_SPLIT = re.compile(r"[,;，；、](?:\s*(?:and|or)\b)?|\band\b|\bor\b|或|和", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Quantity:
    value: Fraction
    unit: str
    places: int | None
    """Decimal places as written; None for a fraction, whose value is exact."""


@dataclass(frozen=True, slots=True)
class _Items:
    parts: list[str]
    brackets: str
    is_unordered: bool


def same(gold: str, answer: str, is_same_latex: IsSameLatex, depth: int = 0) -> bool:
    """Tell whether an answer means what the gold says.

    In this order: equal text; an option letter; an assignment, of which the value counts; a list, part
    by part; a quantity, whose units must not contradict; words, which only match as text; LaTeX.
    """
    gold, answer = _tidy(gold), _tidy(answer)
    if not gold or not answer:
        return False
    if _key(gold) == _key(answer):
        return True
    if len(gold) == 1 and gold.isalpha():
        return _option(answer) == gold.upper()
    if _NAMED_OPTION.fullmatch(answer) or depth > _MAX_DEPTH:
        return False
    gold_name, gold = _assigned(gold)
    name, answer = _assigned(answer)
    if gold_name and name and gold_name != name:
        return False
    if (by_items := _same_items(gold, answer, is_same_latex, depth)) is not None:
        return by_items
    want, got = _quantity(gold), _quantity(answer)
    if want and got:
        return _same_quantity(want, got)
    if ("=" in gold) != ("=" in answer):
        return False
    if _has_words(gold) or _has_words(answer):
        return _same_in_prose(gold, answer, want, got)
    return is_same_latex(gold, answer)


def _tidy(text: str) -> str:
    r"""Return the text without its wrapping ($, \boxed, lead-in words) and with signs spelled in LaTeX."""
    text = text.strip()
    for _ in range(4):
        before = text
        text = _LEAD_OUT.sub("", _LEAD_IN.sub("", text, count=1) if _LEAD_IN.match(text) else text)
        text = text.strip().strip("*").strip()
        for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            inner = text[len(opening) : -len(closing)]
            if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner:
                text = inner.strip()
        for wrapper in _WRAPPERS:
            inner = text[len(wrapper) : -1]
            # What \text holds is words or a value, never a computation.
            is_plain = wrapper == "\\boxed{" or not re.search(r"[*+/^]", inner)
            if text.startswith(wrapper) and text.endswith("}") and "}" not in inner and is_plain:
                text = inner.strip()
        if text.startswith("\\boxed{") and text.endswith("}") and text.count("\\boxed") == 1:
            text = text[len("\\boxed{") : -1].strip()
        if text == before:
            break
    for symbol, plain in _SYMBOLS.items():
        text = text.replace(symbol, plain)
    return _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text).strip()


def _key(text: str) -> str:
    return "".join(text.split()).casefold()


def _option(answer: str) -> str | None:
    match = _NAMED_OPTION.fullmatch(answer) or _LISTED_OPTION.fullmatch(answer) or _OPTION.fullmatch(answer)
    return match[1].upper() if match else None


def _assigned(text: str) -> tuple[str | None, str]:
    """Return the name and the value of `name = ... = value`, or no name and the text."""
    match = _ASSIGNMENT.fullmatch(text)
    if match is None or (_SPLIT.search(match[2]) and "=" in match[2]):
        if "=" in text and not re.search(r"[A-Za-z<>]", text):
            return None, text.rpartition("=")[2].strip()
        return None, text
    value = match[2].rpartition("=")[2].strip()
    return _key(match[1]), _tidy(value)


def _same_items(gold: str, answer: str, is_same_latex: IsSameLatex, depth: int) -> bool | None:
    """Compare two lists; None when neither is one."""
    want, got = _items(gold), _items(answer)
    if want is None and got is None:
        return None
    if want is None or got is None:
        # "3, 5" names two values and "5" one. Single values in brackets are left to the algebra.
        return None if re.search(r"[\\<>]", gold + answer) else False
    if len(want.parts) != len(got.parts) or not _same_brackets(want.brackets, got.brackets):
        return False
    rest = list(got.parts)
    for part in want.parts:
        choices = rest if want.is_unordered or got.is_unordered else rest[:1]
        match = next((other for other in choices if same(part, other, is_same_latex, depth + 1)), None)
        if match is None:
            return False
        rest.remove(match)
    return True


def _same_brackets(gold: str, answer: str) -> bool:
    """Half-open intervals must agree; else "(3, 4)", "[3, 4]" and "3, 4" are ways to write a point."""
    half_open = {"(]", "[)"}
    if gold in half_open or answer in half_open:
        return gold == answer
    return not (gold == "[]" and answer == "()")


def _items(text: str) -> _Items | None:
    """Take a list apart; None for what is no list of two to twenty parts."""
    text = re.sub(r"(?<![0-9])([0-9]{1,3}),([0-9]{3})(?=[^0-9]|\Z)", r"\1\2", text)
    brackets = text[0] + text[-1] if len(text) > 2 else ""
    if brackets in {"()", "[]", "(]", "[)", "{}"}:
        text = text[1:-1]
    else:
        brackets = ""
    if re.search(r"[()\[\]]", text) or "\\begin" in text:
        return None
    parts = [part.strip().strip("$") for part in _SPLIT.split(text)]
    if not 2 <= len(parts) <= 20 or not all(parts):
        return None
    if any(_has_words(part) and not _ASSIGNMENT.fullmatch(part) for part in parts):
        return None
    is_named = all(_ASSIGNMENT.fullmatch(part) for part in parts)
    is_unordered = brackets == "{}" or is_named or bool(re.search(r"\b(?:and|or)\b|或|和", text))
    return _Items(parts, brackets, is_unordered)


def _quantity(text: str) -> _Quantity | None:
    """Read a number with an optional unit; None for anything else."""
    text = re.sub(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}", r" \1", text).rstrip("-").strip()
    text = text.strip("$") if text.count("$") == 1 else text
    match = _QUANTITY.fullmatch(text)
    if match is None or len(text) > _MAX_DIGITS or not _UNIT.fullmatch(match["unit"]):
        return None
    unit = match["unit"].strip()
    if len(unit) == 1 and unit.isalpha() and unit.isascii() and unit not in _UNIT_LETTERS:
        return None
    above, below = match["above"] or match["number"], match["below"] or match["under"] or "1"
    divisor = _fraction(below)
    if not divisor:
        return None
    value = _fraction(above) / divisor + int(match["whole"] or 0)
    if match["power"]:
        value *= Fraction(10) ** int(match["power"])
    places = len(above.partition(".")[2]) if divisor == 1 and not match["above"] else None
    return _Quantity(-value if match["sign"] == "-" else value, unit, places)


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip("."))


def _same_quantity(want: _Quantity, got: _Quantity) -> bool:
    if not _same_unit(want.unit, got.unit):
        return False
    if any(value == other for value in _readings(want) for other in _readings(got)):
        return True
    # A fraction may be answered by its decimal, rounded to two places or more: 1/3 by 0.33, not by 0.3.
    exact, written = (want, got) if want.places is None else (got, want)
    if exact.places is not None or written.places is None or written.places < 2:
        return False
    return abs(exact.value - written.value) * 2 <= Fraction(1, 10**written.places)


def _readings(quantity: _Quantity) -> list[Fraction]:
    """Return the values a quantity may have: data sets leave the percent sign out, or divide by 100."""
    is_percent = _PERCENT.search(quantity.unit)
    return [quantity.value, quantity.value / 100] if is_percent else [quantity.value]


def _same_unit(gold: str, answer: str) -> bool:
    if _PERCENT.search(gold) or _PERCENT.search(answer):
        return True
    plain = str.maketrans({"²": "2", "³": "3", "^": "", "{": "", "}": "", " ": "", ".": ""})
    left, right = (unit.casefold().translate(plain).removesuffix("s") for unit in (gold, answer))
    return not left or not right or left == right


def _has_words(text: str) -> bool:
    return any(word.lower() not in _FUNCTIONS for word in _WORD.findall(text))


def _same_in_prose(gold: str, answer: str, want: _Quantity | None, got: _Quantity | None) -> bool:
    """Compare texts with words: a number against the one number that a sentence states."""
    if want is None and got is None:
        return False
    sentence = answer if got is None else gold
    quantity = want if got is None else got
    if _SPELLED_SIGN.search(sentence):
        return False
    stated = candidates(sentence)
    return quantity is not None and len(stated) == 1 and stated[0] in _readings(quantity)
