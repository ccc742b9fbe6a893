"""Score yes/no questions: the answer must take one side."""

import re
from dataclasses import dataclass

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored

_DRESS = " \t\r\n\v\f\"'`*$.,;:!"
_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*|[.,;:!?/&|\n]")
_SIDES = {
    "yes": True, "true": True, "yep": True, "yeah": True, "yess": True,
    "no": False, "false": False, "nope": False, "untrue": False,
}  # fmt: skip
# Words that may stand between the two sides without choosing one: "yes and no", "True<br>False".
_FILLERS = frozenset({"and", "or", "br", "both", "either", "maybe", "perhaps", *".,;:!?/&|\n"})
_JOINERS = frozenset({"and", "or", "nor", "/", "&", "|"})
_INTRODUCTIONS = frozenset(
    {"the", "my", "final", "answer", "is", "would", "be", "so", "well", "boxed", "text", "textbf", "b", "strong"}
    | set(".,;:!\n")
)
"""What may stand before a side that opens the answer: "The answer is no, it is true that ..."."""
_NEGATIONS = frozenset({"not", "never", "cannot", "neither", "nor", "un"})
_DOUBTS = frozenset(
    {"hardly", "barely", "scarcely", "half", "partly", "partially", "sometimes", "almost", "nearly", "unsure"}
    | {"uncertain", "unclear", "unknown"}
)
"""After these, "true" is not said, nor is its opposite."""
_TRANSPARENT = frozenset({"be", "a", "an", "at", "all"})
"""May stand between a negation and what it turns around ("cannot be true"); others take it back ("not quite true")."""
_KNOWING = frozenset({"sure", "certain", "know", "tell"})
"""Whoever is not so takes no side behind the next comma either: "I'm not sure, maybe yes"."""
_CLAUSE_ENDS = frozenset({"but", "so", "because", "since", "therefore", "thus", "hence", "then", *".,;:!?\n"})
_NO_ANSWER = re.compile(
    r"no (?:idea|clue|answer|opinion|info|information|evidence|data|means|telling|knowing|way (?:to|of))\b"
)
"""A "no" that answers nothing, and lets nothing after it answer: "no idea whether it is"."""
_NO_MATTER = re.compile(r"no (?:doubt|question|matter|wonder|problem)\b")
_WRONG = re.compile(
    r"\b(yes|true|no|false)['\"*]* (?:is|was|would be) (?:the )?"
    r"(?:wrong|incorrect|not (?:the )?(?:right|correct|answer|true|an? ))"
)
_EITHER = re.compile(r"\W*(?:true ?(?:or|/) ?false|yes ?(?:or|/) ?no) ?[:?](?=.*\w)", re.DOTALL)
"""The question repeated: "True or false: ..."."""


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
        named = any(word in _SIDES for word in _TOKEN.findall(answer.lower()))
        return missed("ambiguous" if named else "parse_error", answer.strip())
    return graded(side in golds, answer.strip())


@dataclass(slots=True)
class _Mention:
    """A side that is named."""

    side: bool | None
    """None: it is neither said nor denied."""
    opens: bool
    """Whether the answer begins with it."""
    is_asked: bool = False
    """Whether it stands in a question."""


def _side(text: str) -> bool | None:
    """Return the side a text takes, or None when it takes none or both.

    A side in front decides ("No, yes is wrong"); otherwise all mentions have to agree, where "not true"
    is a mention of false, and "not quite true" of neither.
    """
    lowered = text.lower().strip(_DRESS)
    if lowered in _SIDES:
        return _SIDES[lowered]
    lowered = lowered.replace("’", "'")
    if either := _EITHER.match(lowered):
        lowered = lowered[either.end() :]
    if "no " in lowered:
        lowered = _NO_MATTER.sub("", _NO_ANSWER.sub("not", lowered))
    if "wrong" in lowered or "incorrect" in lowered or " not " in lowered:
        lowered = _WRONG.sub(r"not \1", lowered)
    tokens = _TOKEN.findall(lowered)
    mentions, is_joined = _mentions(tokens)
    answering = [mention for mention in mentions if not mention.is_asked] or mentions
    if not answering or is_joined:
        return None
    first = answering[0]
    if all(mention.side == first.side for mention in answering):
        return first.side
    bare = all(token in _SIDES or token in _FILLERS for token in tokens)
    return first.side if first.opens and not bare else None


def _mentions(tokens: list[str]) -> tuple[list[_Mention], bool]:
    """Return the sides that are named, and whether two opposite ones are joined: "yes and no"."""
    mentions: list[_Mention] = []
    sentence, opening, is_joined = 0, True, False
    denial = _Denial()
    between: list[str] = []
    for token in tokens:
        if token in _SIDES:
            mention = _Mention(denial.turned(_SIDES[token]), opening)
            if mentions and not _JOINERS.isdisjoint(between) and _JOINERS.issuperset({*between} - {","}):
                is_joined |= mention.side is not mentions[-1].side
            mentions.append(mention)
            opening, between, denial = False, [], _Denial()
            continue
        between.append(token)
        opening = opening and (token in _INTRODUCTIONS or token in _NEGATIONS)
        denial.hear(token)
        if token == "?":
            for mention in mentions[sentence:]:
                mention.is_asked = True
            opening = True
        if token in ".!?":
            sentence = len(mentions)
    return mentions, is_joined


@dataclass(slots=True)
class _Denial:
    """What the words of a clause do to a side that follows them."""

    is_open: bool = False
    """Whether a negation or a doubt has been said."""
    is_plain: bool = False
    """Whether it turns the side around; otherwise it only takes it back."""
    lasts: bool = False
    """Whether it does not end with the next comma."""

    def hear(self, token: str) -> None:
        """Take the next word or sign."""
        if token in _CLAUSE_ENDS:
            self.is_open = self.is_open and self.lasts and token == ","
        elif token in _NEGATIONS or token.endswith("n't"):
            self.is_open, self.is_plain, self.lasts = True, True, False
        elif token in _DOUBTS:
            self.is_open, self.is_plain, self.lasts = True, False, False
        elif self.is_open:
            self.is_plain = self.is_plain and token in _TRANSPARENT
            self.lasts = self.lasts or token in _KNOWING

    def turned(self, side: bool) -> bool | None:
        """Return the side that is taken when this one is named."""
        if not self.is_open:
            return side
        return not side if self.is_plain else None


def _substring_side(text: str) -> bool | None:
    lowered = text.lower()
    if "yes" in lowered or "true" in lowered:
        return True
    if "no" in lowered or "false" in lowered:
        return False
    return None
