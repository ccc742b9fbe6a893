"""CharXiv, descriptive questions: judged by a language model where an endpoint is given, else by rules."""

import os
import re
from collections.abc import Iterator
from typing import Any

from ovrl.eval.lmms.harness.adapters import reading
from ovrl.eval.lmms.harness.adapters.adapter import Adapter, Doc, Upstream

ENDPOINT = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MODEL_VERSION")
"""The variables that upstream reads; all three have to be set."""

_NONE = frozenset({"notapplicable", "n/a", "na"})
_LABELS, _TREND, _LAYOUT = 13, 16, 18
_PREFIX = re.compile(r"\A\(?[a-z]\)\s+", re.IGNORECASE)
_MARKUP = re.compile(r"\\(?:mathrm|mathbf|mathit|text|left|right)\b|[\s$\\{}\"'“”‘’]")
_BY = re.compile(r"([0-9]+)\s*(?:by|x|×)\s*([0-9]+)", re.IGNORECASE)
_ENDING = re.compile(r"(?:es|ed|ing|e|s)\b")
_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega"
)
_GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", _LETTERS.split(), strict=True))


class CharXiv(Adapter):
    """One verdict for each question; upstream judges five at a time, and takes -1 for one that it failed to get."""

    metric = "descriptive_acc"
    has_scorer = True

    @property
    def judged_by(self) -> str:
        """Return `endpoint` with the model, or `rules`."""
        return f"endpoint {os.environ['MODEL_VERSION']}" if _has_endpoint() else "rules"

    def docs(self, docs: Any) -> Any:
        """Return figures that are repeated one after the other.

        Upstream repeats all of them and counts the question from the place: with 1,000 figures, the four copies of
        a figure get the same one of its four questions.
        """
        return _InTurn(docs)

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return 1 for a right answer, else 0.

        Raises:
            ValueError: the endpoint gave no verdict.
        """
        right = _asked(doc, reply) if _has_endpoint() else _same(int(doc["qid"]), reply, str(doc["descriptive_a"]))
        return {"descriptive_acc": float(right)}


class _InTurn:
    """A data set that is repeated row by row."""

    def __init__(self, docs: Any) -> None:
        self._docs = docs

    def repeat(self, times: int) -> Any:
        return self._docs.select([row for row in range(len(self._docs)) for _ in range(times)])


def _has_endpoint() -> bool:
    return all(os.environ.get(name) for name in ENDPOINT)


def _asked(doc: Doc, reply: str) -> bool:
    """Return the verdict of upstream's judge, with its rubric."""
    from lmms_eval.tasks.charxiv import descriptive_utils, utils  # pyright: ignore[reportMissingImports]

    groups = {int(doc["qid"]): [("", reply, doc["descriptive_a"])]}
    (query,) = descriptive_utils.build_descriptive_grading_queries(groups)
    client: Any = utils._get_client()  # pyright: ignore[reportPrivateUsage]
    model = os.environ["MODEL_VERSION"]
    found = descriptive_utils.get_descriptive_result_gpt(client, query["grading_query"], 1, model=model)
    if found["score_T1"] not in (0, 1):
        raise ValueError(f"the judge {model} gave no verdict on {doc['figure_path']}, question {doc['qid']}")
    return found["score_T1"] == 1


def _same(template: int, answer: str, gold: str) -> bool:
    """Tell whether an answer is the gold's by the rubric of its question, as far as rules can."""
    answer = reading.stated(answer)
    if _plain(gold) in _NONE or _plain(answer) in _NONE:
        return _plain(gold) in _NONE and _plain(answer) in _NONE
    if template == _LABELS:
        return list(_labels(answer)) == list(_labels(gold))
    if template == _LAYOUT:
        return bool(_by(answer)) and _by(answer) == _by(gold)
    if template == _TREND:
        return _ENDING.sub("", answer.lower()).split() == _ENDING.sub("", gold.lower()).split()
    if reading.is_number(gold):
        return reading.number(answer) == reading.number(gold)
    return _plain(answer) == _plain(gold)


def _labels(text: str) -> Iterator[str]:
    return (label for part in text.split(",") if (label := _plain(part)))


def _by(text: str) -> tuple[str, ...] | None:
    found = _BY.search(text)
    return found.groups() if found else None


def _plain(text: str) -> str:
    """Return the text without markup, case, spaces and the letter of its panel."""
    text = _MARKUP.sub("", _PREFIX.sub("", text.strip())).casefold().rstrip(".")
    return "".join(_GREEK.get(one, one) for one in text)
