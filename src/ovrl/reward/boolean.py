"""Score yes/no questions: the answer must take one side."""

import re

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored

_WORD = re.compile(r"[a-z]+")
_SIDES = {
    "yes": True, "true": True, "yep": True, "yeah": True, "yess": True,
    "no": False, "false": False, "nope": False, "untrue": False,
}  # fmt: skip
_NEGATIONS = {"not", "isn", "doesn", "never"}
# Words that may stand between the two sides without choosing one: "yes and no", "True<br>False".
_FILLERS = {"and", "or", "br", "both", "either", "maybe", "perhaps"}


def score(question: Question, completion: str, mode: Mode) -> Score:
    """Return 1 for the right side, 0 for the wrong one; `ambiguous` when both or `parse_error` when none.

    `ov15` looks for "yes"/"true", then "no"/"false", anywhere in the lower-cased text, even in words.
    """
    answer = final_answer(completion, mode)
    if mode == "ov15":
        if not answer or not question.answer:
            return missed("no_answer", answer)
        got = _substring_side(answer)
        right = got is not None and got in {_substring_side(gold) for gold in question.answer}
        return graded(right, answer.strip())
    golds = {side for gold in question.answer if (side := _side(gold)) is not None}
    if not golds:
        return unscored("invalid_gold")
    if answer is None or not answer.strip():
        return missed("no_answer", answer)
    side = _side(answer)
    if side is None:
        named = any(word in _SIDES for word in _WORD.findall(answer.lower()))
        return missed("ambiguous" if named else "parse_error", answer.strip())
    return graded(side in golds, answer.strip())


def _side(text: str) -> bool | None:
    """Return the side a text takes, or None when it takes none or both.

    A side in front decides ("No, yes is wrong"); otherwise all mentions have to agree, where "not true"
    is a mention of false.
    """
    lowered = text.strip().lower()
    if lowered in _SIDES:
        return _SIDES[lowered]
    words = _WORD.findall(lowered)
    mentions = [
        _SIDES[word] != (i > 0 and words[i - 1] in _NEGATIONS) for i, word in enumerate(words) if word in _SIDES
    ]
    if not mentions:
        return None
    if all(side == mentions[0] for side in mentions):
        return mentions[0]
    bare = all(word in _SIDES or word in _FILLERS for word in words)
    return _SIDES[words[0]] if words[0] in _SIDES and not bare else None


def _substring_side(text: str) -> bool | None:
    lowered = text.lower()
    if "yes" in lowered or "true" in lowered:
        return True
    if "no" in lowered or "false" in lowered:
        return False
    return None
