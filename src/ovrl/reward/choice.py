"""Score multiple-choice replies: an option letter must be named, and must be the right one."""

import functools

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.option_letters import as_set, offered, option_text, tidy
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 for the right letter or set of letters, 0 for others; `ambiguous` when several are offered.

    `ov15` takes the first character that is left after stripping white space, dots and round brackets.
    """
    answer = final_answer(completion, mode)
    if mode == "ov15":
        if not answer or not question.answer:
            return missed("no_answer", answer)
        first = answer.strip().strip(".()")[:1].upper()
        return graded(first in {gold.upper() for gold in question.answer}, first)
    golds = usable_golds(question)
    if not golds:
        return unscored("invalid_gold")
    if answer is None or not answer.strip():
        return missed("no_answer", answer)
    text = tidy(answer)
    letters = offered(text)
    wanted = [_wanted(gold) for gold in golds]
    for gold, right in wanted:
        if right and (right == letters or (len(right) > 1 and right == as_set(text))):
            return graded(1.0, "".join(sorted(right)))
        if not (right and letters) and text.casefold() in (gold.casefold(), option_text(gold).casefold()):
            return graded(1.0, text)
    if not letters:
        return missed("parse_error", text)
    if len(letters) > 1 and all(len(right) < 2 for _, right in wanted):
        return missed("ambiguous", text)
    return graded(0.0, "".join(sorted(letters)))


@functools.lru_cache(maxsize=4096)
def _wanted(gold: str) -> tuple[str, frozenset[str]]:
    """Return a gold answer, tidied, and the letters that it names; many completions have the same."""
    gold = tidy(gold)
    return gold, offered(gold) or (as_set(gold) if gold.isupper() else frozenset())
