"""What a benchmark needs beyond the common form: the text of its question, the spelling of its answers."""

from collections.abc import Mapping, Sequence
from typing import Any


class Adapter:
    """A task whose text takes the instruction from its options, and whose scorer reads a plain answer."""

    def question(self, doc: Mapping[str, Any], text: str) -> str:
        """Return the question without upstream's instruction about the form of the answer.

        Args:
            doc: the document.
            text: what upstream asks when its options are empty.
        """
        del doc
        return text

    def reply(self, doc: Mapping[str, Any], answer: str) -> str:
        """Return the answer as upstream's scorer reads it."""
        del doc
        return answer

    def judge(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """Return the metrics of a task that has no scorer of its own, only a target to compare with.

        Raises:
            ValueError: this adapter cannot.
        """
        raise ValueError(f"there is no scorer for this task; its document has {', '.join(doc)}, the reply is {results}")

    def score(self, doc: Mapping[str, Any], metrics: Mapping[str, Any], metric: str | None) -> float | None:
        """Return what the document contributes to the metric, from 0 to 1; None when it cannot be told."""
        del doc
        value = metrics.get(metric) if metric is not None else next(iter(metrics.values()), None)
        if isinstance(value, Mapping):
            value = next((value[name] for name in ("score", "acc", "correct", "is_correct") if name in value), None)
        return float(value) if isinstance(value, bool | int | float) else None


_PLAIN = Adapter()
_ADAPTERS: dict[str, Adapter] = {}


def adapter(task: str) -> Adapter:
    """Return the adapter of an upstream task; most need none."""
    return _ADAPTERS.get(task, _PLAIN)


def judges(task: str) -> bool:
    """Return whether the adapter of an upstream task brings a scorer."""
    return type(adapter(task)).judge is not Adapter.judge
