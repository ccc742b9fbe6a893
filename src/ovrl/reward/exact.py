"""Score free text by equality: `any` without regard to case, `critic` with it."""

import unicodedata
from collections.abc import Callable

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 when the answer equals a gold answer after stripping and lower-casing, else 0.

    Inner white space and punctuation count. `strict` also composes accents (NFC), because "é" has two
    spellings that nobody can tell apart.
    """
    if mode == "ov15":
        # An empty tag was "no answer" to the original, a blank one was compared.
        if not question.answer or not final_answer(completion, mode):
            return missed("no_answer")
        return _compare(question, completion, mode, lambda text: text.strip().lower())
    return _compare(question, completion, mode, lambda text: _composed(text).lower())


def score_critic(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 when the stripped answer equals a stripped gold answer, case included, else 0."""
    if mode == "ov15":
        return _compare(question, completion, mode, str.strip)
    return _compare(question, completion, mode, _composed)


def _compare(question: Question, completion: str, mode: Mode, normal: Callable[[str], str]) -> Score:
    golds = usable_golds(question) if mode == "strict" else list(question.answer)
    if not golds:
        return unscored("invalid_gold")
    answer = final_answer(completion, mode)
    if answer is None or (mode == "strict" and not answer.strip()):
        return missed("no_answer", answer)
    return graded(normal(answer) in {normal(gold) for gold in golds}, answer.strip())


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
