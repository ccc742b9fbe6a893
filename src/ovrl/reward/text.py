"""Score text read off an image (`ocrtext`): one minus the normalized edit distance."""

import Levenshtein

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored, usable_golds

THRESHOLD = 0.5
"""Below this similarity the reading is noise, and worth nothing."""
MIN_LETTERS = 0.5
"""`strict` pays nothing for a reading with less than this share of the gold's different characters: "eaeaeaea" is
half of many a word by edit distance, and was read off no picture."""


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 - distance / longer length against the nearest gold answer, or 0 below `THRESHOLD`.

    Both texts are lower-cased and their white space collapsed. In `ov15` the length of the gold is
    taken before that, so surplus white space in a gold inflates the similarity. `strict` pays no soup of
    frequent letters (`MIN_LETTERS`).
    """
    if mode == "strict" and not usable_golds(question):
        return unscored("invalid_gold")
    golds = usable_golds(question) if mode == "strict" else question.answer
    answer = final_answer(completion, mode)
    if not answer or not golds or (mode == "strict" and not answer.strip()):
        return missed("no_answer", answer)
    similarity = max(_similarity(gold, answer, mode) for gold in golds)
    return graded(similarity if similarity >= THRESHOLD else 0.0, answer.strip())


def _similarity(gold: str, answer: str, mode: Mode) -> float:
    want, got = _normal(gold), _normal(answer)
    letters = set(want)
    if mode == "strict" and len(letters & set(got)) < MIN_LETTERS * len(letters):
        return 0.0
    measured = want if mode == "strict" else gold
    # Lengths are taken in upper case, where "ß" counts as two.
    length = max(len(measured.upper()), len(got.upper()))
    return 1.0 - (Levenshtein.distance(want, got) / length if length else 0.0)


def _normal(text: str) -> str:
    return " ".join(text.lower().split())
