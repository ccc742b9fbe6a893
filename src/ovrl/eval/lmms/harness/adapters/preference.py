"""VL-RewardBench: which of two answers is better."""

import re

from ovrl.eval.lmms.harness.adapters import reading
from ovrl.eval.lmms.harness.adapters.adapter import Adapter, Doc

_TASK = "\n\nAfter your evaluation, please:"
_VERDICT = re.compile(
    r"\b(?:answer|response)\s*([12])\s+is\s+(?:the\s+)?(?:slightly\s+|much\s+|clearly\s+)?better", re.I
)
_NAMED = re.compile(r"\b(?:answer|response)\s*([12])\b", re.IGNORECASE)


class Preference(Adapter):
    """The scorer gets the one sentence that it reads; else it asks a language model, and then a coin."""

    @property
    def judged_by(self) -> str:
        """Return `rules`."""
        return "rules"

    def question(self, doc: Doc, text: str) -> str:
        """Return the question without the order to reason about each criterion and to close with a sentence."""
        del doc
        return text.partition(_TASK)[0] + "\n\nWhich one is better? Answer 1 or 2."

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the verdict; that answer 0 is better where none is clear."""
        del doc
        return f"Overall Judgment: Answer {_better(answer)} is better."


def _better(text: str) -> str:
    if verdicts := _VERDICT.findall(text):
        return verdicts[-1]
    stated = reading.stated(text)
    if (number := reading.number(stated)) in ("1", "2"):
        return number
    named = set(_NAMED.findall(stated))
    return named.pop() if len(named) == 1 else "0"
