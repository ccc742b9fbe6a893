"""MathVista, MathVision, WeMath."""

import ast
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from ovrl.eval.lmms.harness.adapters import reading
from ovrl.eval.lmms.harness.adapters.adapter import Adapter, Doc, Upstream
from ovrl.eval.lmms.harness.adapters.choice import Choice, lettered, within


class MathVista(Adapter):
    """Upstream's normalization and comparison; the answer is in tags, so no language model has to find it.

    What upstream's own way makes of the answers: choices with "(x)" in them never count, as the x is taken for a
    letter; decimal numbers never count where the column of precisions is one of floats; and what cannot be read
    gets the choice that is nearest to nothing.
    """

    options: ClassVar = {"shot_type": "direct"}
    metric = "accuracy"
    environment: ClassVar = {"API_TYPE": "dummy"}  # upstream makes a client of its judge on import; it is never asked
    has_scorer = True

    @property
    def judged_by(self) -> str:
        """Return `rules`."""
        return "rules"

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the letter, the number, or the list; nothing where it is not clear."""
        if doc["question_type"] == "multi_choice":
            return reading.letter(answer, lettered(doc["choices"])) or ""
        if doc["answer_type"] == "list":
            return _as_list(reading.stated(answer))
        return reading.number(answer) or ""

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return whether upstream finds the reply equal to the answer when both are normalized."""
        from lmms_eval.tasks.mathvista.mathvista_evals import (  # pyright: ignore[reportMissingImports]
            MathVistaEvaluator,
        )

        evaluator: Any = MathVistaEvaluator()
        gold, choices = doc["answer"], list(doc["choices"] or ())
        if doc["question_type"] == "multi_choice":
            gold = next(one for one, text in lettered(choices).items() if text == str(gold))
            choices = list(lettered(choices))
        elif doc["answer_type"] == "list":
            gold = _as_list(str(gold))
        if not reply:
            return {"accuracy": 0.0}
        kind = choices, doc["question_type"], doc["answer_type"], int(doc.get("precision") or 0)
        got, want = (evaluator.normalize_extracted_answer(one, *kind) for one in (reply, gold))
        return {"accuracy": float(got is not None and evaluator.safe_equal(got, want))}


def _as_list(text: str) -> str:
    """Return a list as Python writes it; the text itself when it is none."""
    try:
        value = ast.literal_eval(text if text.startswith("[") else f"[{text}]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return str(value)


class MathVision(Choice):
    """A letter or an expression, by upstream's rules."""

    options: ClassVar = {"mc_prompt": "", "short_answer_prompt": ""}

    def __init__(self) -> None:
        """Take the options from their column."""
        super().__init__(lambda doc: lettered(doc["options"]))

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the letter, the number without its unit if a number is asked for, or the expression."""
        if doc["options"]:
            return super().reply(doc, answer)
        found = reading.number(answer) if reading.is_number(str(doc["answer"])) else None
        return found or reading.stated(answer)

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return upstream's metrics, with a parser of LaTeX that can be imported and gives numbers."""
        if upstream is not None:
            _give_parser(upstream)
        return super().judge(doc, reply, upstream)


def _give_parser(upstream: Upstream) -> None:
    """Give upstream's scorer its own comparison, which fails to load.

    The parser that it imports cannot be imported as pip installs it; its successor can. Upstream gives what the
    parser makes of a model's reply to `eval`: here that is always the digits of a number.
    """
    names: dict[str, Any] = getattr(upstream, "func", upstream).__globals__
    if "ovrl" in names:
        return
    parser: Any = importlib.import_module("latex2sympy2_extended")
    sys.modules["latex2sympy2"] = parser
    from lmms_eval.tasks.mathvision import eval_utils  # pyright: ignore[reportMissingImports]

    eval_utils.latex2sympy = lambda text: float(parser.latex2sympy(text).evalf())
    names |= {name: getattr(eval_utils, name) for name in ("find_math_answer", "is_equal", "is_number")} | {
        "ovrl": True
    }


class WeMath(Choice):
    """The loose score over the problems that are there; upstream takes 525 for their number, whatever was measured."""

    metric = "wemath_loose"

    def __init__(self) -> None:
        """Take the options from their column: "A. 30 degrees; B. ..."."""
        super().__init__(within("option", r"([A-H])[.、:]\s*", default="ABCDEFGH"))

    @property
    def judged_by(self) -> str:
        """Return `rules`, or what upstream asks where `USE_LLM_JUDGE` is set."""
        if os.environ.get("USE_LLM_JUDGE") != "True":
            return "rules"
        return f"endpoint {os.environ.get('JUDGE_MODEL_NAME', 'gpt-4o-mini')}"

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return what upstream notes of the document."""
        found = super().judge(doc, f"<answer>{reply}</answer>", upstream)
        return {"wemath_loose": found["wemath_loose"]}

    def score(self, doc: Doc, metrics: Any, metric: str | None) -> None:
        """Return None: the score is that of whole problems, each of several documents."""

    def aggregate(self, values: Sequence[Any]) -> float | None:
        """Return the share of mastered problems plus half of those that are only known in parts.

        We-Math (arXiv 2407.01284), equation 1: 0.5 * inadequate generalization + complete mastery; "loose": a
        problem is mastered if it and any of its steps are right. None when no problem is there with all its steps.
        """
        import pandas  # pyright: ignore[reportMissingImports]
        from lmms_eval.tasks.wemath import wemath_utils as upstream  # pyright: ignore[reportMissingImports]

        table = pandas.DataFrame(list(values))
        table["joker"] = table["acc_score"] == 1.0
        two, three = (
            upstream.process_steps_data(table[table["key"].str.contains(f"{steps}steps")], steps) for steps in (2, 3)
        )
        rows: Any = upstream.calculate_metrics(two, three)

        def count(kind: str) -> int:
            return sum(len(rows[f"steps{steps}_filtered_rows_{kind}"]) for steps in (2, 3))

        total = sum(map(count, ("1_loose", "2", "3", "4_loose")))
        return (0.5 * count("2") + count("4_loose")) / total if total else None
