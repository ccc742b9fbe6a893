"""What a benchmark needs beyond the common form, and what holds for most: nothing."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ovrl.eval.lmms.harness.adapters import instructions

Doc = Mapping[str, Any]
Upstream = Callable[..., Mapping[str, Any]]
"""The task's own `process_results`."""

_SCORES = ("score", "acc", "correct", "is_correct", "true_false")
_PREDICTIONS = ("pred", "pred_answer", "prediction", "parsed_pred")


class Adapter:
    """A task whose text takes the instruction from its options, and whose scorer reads a plain answer."""

    options: ClassVar[Mapping[str, str]] = {}
    """Options of upstream's question besides `pre_prompt` and `post_prompt`, which are emptied everywhere."""
    metric: ClassVar[str | None] = None
    """A metric that stands for all of upstream's: `judge` gives it, `aggregate` sums it up."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Variables without which upstream's modules cannot be imported."""
    has_scorer: ClassVar[bool] = False
    """Whether `judge` does without upstream's `process_results`."""

    @property
    def judged_by(self) -> str:
        """Return `scorer`; `rules` where upstream asks a language model; or `endpoint` and the model that is asked."""
        return "scorer"

    def question(self, doc: Doc, text: str) -> str:
        """Return the question without upstream's instruction about the form of the answer.

        Args:
            doc: the document.
            text: what upstream asks when its options are empty.
        """
        del doc
        return instructions.without(text)

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the answer as upstream's scorer reads it."""
        del doc
        return answer

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return the metrics of a reply.

        Raises:
            ValueError: the task has no scorer, only a target to compare with.
        """
        if upstream is None:
            raise ValueError(f"there is no scorer for this task; its document has {', '.join(doc)}")
        return dict(upstream(doc, [reply]))

    def aggregate(self, values: Sequence[Any]) -> float | None:
        """Return the value of `metric` over all documents; None when there is none."""
        return statistics.fmean(values)

    def docs(self, docs: Any) -> Any:
        """Return the documents that belong to the benchmark, of those that upstream loads (a `datasets.Dataset`)."""
        return docs

    def score(self, doc: Doc, metrics: Mapping[str, Any], metric: str | None) -> float | None:
        """Return what the document contributes to the metric, from 0 to 1; None when it cannot be told."""
        del doc
        value = metrics.get(metric) if metric is not None else next(iter(metrics.values()), None)
        if isinstance(value, Mapping):
            value = _of_record(value)
        return float(value) if isinstance(value, bool | int | float) else None


def _of_record(record: Mapping[str, Any]) -> Any:
    """Return the score in what upstream notes of a document, or whether its prediction is its answer."""
    for name in _SCORES:
        if name in record:
            return record[name]
    if record.get("scores"):
        return record["scores"][0]
    predicted = next((record[name] for name in _PREDICTIONS if name in record), None)
    if isinstance(predicted, str) and isinstance(record.get("answer"), str):
        return predicted.casefold() == record["answer"].casefold()
    return None
