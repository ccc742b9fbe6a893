"""Score mathematical answers: equal as text, as a value, or as an expression (Math-Verify)."""

import logging
import re
import string
from typing import Any

from latex2sympy2_extended import latex2sympy
from math_verify import (
    ExprExtractionConfig,
    LatexExtractionConfig,
    StringExtractionConfig,
    parse,
    verify,
)

from ovrl.records import Question, Score
from ovrl.reward.arithmetic import evaluate
from ovrl.reward.equivalence import same
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds

# Time limits are the worker pool's: the library's alarms only work in a main thread. It says so once.
logging.getLogger("math_verify").setLevel(logging.ERROR)

MAX_CHARS = 2_000
"""A longer answer is no mathematical expression."""

_Target = ExprExtractionConfig | LatexExtractionConfig | StringExtractionConfig
_LETTERS = StringExtractionConfig(strings=tuple(string.ascii_letters))
_OV15_TARGETS = (_LETTERS, LatexExtractionConfig(), ExprExtractionConfig())
_STRICT_TARGETS = (LatexExtractionConfig(),)
_OPTION = re.compile(r"\s*\([A-Za-z]\)")

# Towers of powers, five-digit exponents and factorials of more than three digits: what costs minutes.
_EXPLOSIVE = re.compile(
    r"(?:\^|\*\*)\s*\{?\s*[-+(]*\s*[0-9][0-9 ,]{4}"
    r"|(?:\^|\*\*)[\s{(+-]*[0-9a-zA-Z.]{1,9}[\s)]*(?:\^|\*\*)"
    r"|[0-9]{4}\s*!|!\s*[)}]*\s*!"
)


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 when the answer means the same as a gold answer, else 0.

    `strict` compares as `equivalence` says, with the gold in the library's gold position. `ov15` takes
    the original's steps: Math-Verify on the bare texts with a one-letter reader in front and the roles
    swapped, then arithmetic rounded to two decimals.
    """
    answer = final_answer(completion, mode)
    golds = usable_golds(question) if mode == "strict" else list(question.answer)
    if not golds:
        return unscored("invalid_gold", answer)
    if answer is None or not answer.strip():
        # Text equality of blanks never counted, and nothing can be parsed out of them.
        return missed("no_answer", answer)
    if len(answer) > MAX_CHARS or _EXPLOSIVE.search(answer):
        return missed("parse_error", answer[:MAX_CHARS])
    if mode == "ov15":
        text = _ov15_answer(answer)
        return graded(any(_same_ov15(gold, text) for gold in golds), text)
    return graded(any(same(gold, answer.strip(), is_same_latex) for gold in golds), answer.strip())


def is_same_latex(gold: str, answer: str) -> bool:
    """Tell whether two LaTeX expressions are equal by Math-Verify. No eval: LaTeX has its own grammar."""
    if _EXPLOSIVE.search(gold) or _EXPLOSIVE.search(answer):
        return False
    want, got = _parsed(f"${gold}$", _STRICT_TARGETS), _parsed(f"${answer}$", _STRICT_TARGETS)
    # "1 < x < 2" may answer "(1, 2)", and the other way round.
    return verify(want, got, allow_set_relation_comp=True, timeout_seconds=None)


def _parsed(text: str, targets: tuple[_Target, ...]) -> list[Any]:
    # The stub asks for an int; None is what the library's documentation gives for threads.
    return parse(text, targets, parsing_timeout=None)  # pyright: ignore[reportArgumentType]


def _ov15_answer(answer: str) -> str:
    # Meant for "(B)", but "(B) 12 cm" loses its first and last character, too.
    return answer[1:-1].strip() if _OPTION.match(answer) else answer


def _same_ov15(gold: str, answer: str) -> bool:
    if verify(_parsed(answer, _OV15_TARGETS), _parsed(gold, _OV15_TARGETS), timeout_seconds=None):
        return True
    left, right = answer.lower(), gold.lower()
    if not left.strip() or not right.strip():
        return False
    if left.strip() == right.strip():
        return True
    if _rounded_items(left) == _rounded_items(right):
        return True
    value = _rounded(left)
    return value is not None and value == _rounded(right)


def _rounded_items(text: str) -> str:
    """Return a tuple or interval with its parts rounded, or the text as it is."""
    inner = text.strip()
    if "," not in inner or (inner[0], inner[-1]) not in {("(", ")"), ("[", "]")}:
        return text
    parts: list[str] = []
    for part in inner[1:-1].split(","):
        if "infty" in part or part.strip() in {"a", "-a"}:
            parts.append(part)
            continue
        value = _rounded(part)
        if value is None:
            return text
        parts.append(str(value))
    return inner[0] + ",".join(parts) + inner[-1]


def _rounded(latex: str) -> float | None:
    if _EXPLOSIVE.search(latex) or len(latex) > MAX_CHARS:
        return None
    try:
        value = evaluate(str(latex2sympy(latex)))
    except Exception:  # noqa: BLE001 - the parser raises a plain Exception on what is no LaTeX
        return None
    return None if value is None else round(value, 2)
