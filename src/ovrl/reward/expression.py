"""Score mathematical answers: equal as text, as a value, or as an expression (Math-Verify)."""

import re
from collections.abc import Callable

from ovrl.records import Question, Score
from ovrl.reward.equivalence import same
from ovrl.reward.extract import final_answer
from ovrl.reward.fallback import is_plain_number, same_rounded
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds
from ovrl.reward.refusal import RefusedError

MAX_CHARS = 2_000
"""A longer answer is no mathematical expression."""

# "x(x+1)" is a product, though the library's grammar sees a function x. Letters that name functions stay.
_PRODUCT = re.compile(r"(?<![A-Za-z\\{])([a-eijk-z])\s*\((?![^()]*,)")
_OPTION = re.compile(r"\s*\([A-Za-z]\)")


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 when the answer means the same as a gold answer, else 0.

    `strict` compares as `equivalence` says, with the gold in the library's gold position. `ov15` takes
    the original's steps: Math-Verify on the bare texts with a one-letter reader in front and the roles
    swapped, then arithmetic rounded to two decimals. What could take without end is refused before it
    is computed: an answer gives `parse_error`, a gold `invalid_gold`.
    """
    answer = final_answer(completion, mode)
    golds = usable_golds(question) if mode == "strict" else list(question.answer)
    if not golds:
        return unscored("invalid_gold", answer)
    if answer is None or not answer.strip():
        # Text equality of blanks never counted, and nothing can be parsed out of them.
        return missed("no_answer", answer)
    text = _ov15_answer(answer) if mode == "ov15" else answer.strip()
    if any(gold.strip().lower() == text.strip().lower() for gold in golds) and text.strip():
        return graded(1.0, text[:MAX_CHARS])
    if len(text) > MAX_CHARS:
        return missed("parse_error", text[:MAX_CHARS])
    return _compared(golds, text, _same_ov15 if mode == "ov15" else _same_strict)


def _compared(golds: list[str], answer: str, compare: Callable[[str, str], bool]) -> Score:
    unusable = 0
    for gold in golds:
        try:
            if len(gold) > MAX_CHARS:
                raise RefusedError(gold=True)
            if compare(gold, answer):
                return graded(1.0, answer)
        except RefusedError as error:
            if error.answer:
                return missed("parse_error", answer)
            unusable += 1
    return unscored("invalid_gold", answer) if unusable == len(golds) else graded(0.0, answer)


def _ov15_answer(answer: str) -> str:
    # Meant for "(B)", but "(B) 12 cm" loses its first and last character, too.
    return answer[1:-1].strip() if _OPTION.match(answer) else answer


def _same_strict(gold: str, answer: str) -> bool:
    return same(gold, answer, _is_same_latex)


def _same_ov15(gold: str, answer: str) -> bool:
    if same_rounded(answer, gold):
        return True
    if is_plain_number(answer) and is_plain_number(gold):
        return False
    # Only here is sympy loaded.
    from ovrl.reward.algebra import same_text

    try:
        return same_text(answer, gold)
    except RefusedError as error:
        raise RefusedError(gold=error.answer, answer=error.gold) from error  # the roles are swapped


def _is_same_latex(gold: str, answer: str) -> bool:
    from ovrl.reward.algebra import same_latex

    return same_latex(*(_PRODUCT.sub(r"\1\\cdot (", text) for text in (gold, answer)))
