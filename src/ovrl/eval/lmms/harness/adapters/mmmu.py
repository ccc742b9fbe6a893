"""MMMU and MMMU-Pro: upstream draws a letter where it reads none."""

import ast
from collections.abc import Mapping
from typing import Any, ClassVar

from ovrl.eval.lmms.harness.adapters.adapter import Doc, Upstream
from ovrl.eval.lmms.harness.adapters.choice import Choice, by_letter, literal

_PICTURED = "Answer the question that the image asks."
"""For documents whose question and options are part of the image."""


class Mmmu(Choice):
    """Multiple choice, and open questions."""

    options: ClassVar = {"multiple_choice_prompt": "", "open_ended_prompt": ""}

    def __init__(self) -> None:
        """Take the options from the text of a list."""
        super().__init__(literal("options"), gold=by_letter("answer"))

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the letter; of an open question all of the answer, which upstream searches."""
        return super().reply(doc, answer) if doc["question_type"] == "multiple-choice" else answer

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return upstream's metrics; several right answers stand in a list that was written as text."""
        answer = doc["answer"]
        if isinstance(answer, str) and answer.startswith("["):
            answer = ast.literal_eval(answer)
        return super().judge({**doc, "answer": answer}, reply, upstream)

    def score(self, doc: Doc, metrics: Mapping[str, Any], metric: str | None) -> float:
        """Return upstream's verdict on this document alone."""
        from lmms_eval.tasks.mmmu.utils import evaluate_mmmu  # pyright: ignore[reportMissingImports]

        return float(evaluate_mmmu([metrics["mmmu_acc"]])[1]["acc"])


class MmmuPro(Choice):
    """Ten options; in the vision part they are only in the image."""

    def __init__(self) -> None:
        """Take the options from the text of a list."""
        super().__init__(literal("options"), gold=by_letter("answer"))

    def question(self, doc: Doc, text: str) -> str:
        """Return the question; something has to be asked where it is in the image."""
        return super().question(doc, text).strip() or _PICTURED
