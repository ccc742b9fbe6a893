"""Answers in words and values: read documents, charts, scenes."""

from typing import Any

from ovrl.eval.lmms.harness.adapters import reading
from ovrl.eval.lmms.harness.adapters.adapter import Adapter, Doc, Upstream


class Anls(Adapter):
    """DocVQA, InfographicVQA: no scorer of their own, but lmms-eval's metric of edit distance."""

    has_scorer = True

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return `anls` as lmms-eval computes it: the best answer's, 0 below one half; of all or what is stated."""
        from lmms_eval.api import metrics  # pyright: ignore[reportMissingImports]

        golds, readings = list(doc["answers"]), (reply, reading.stated(reply))
        return {"anls": max(float(metrics.anls(references=golds, predictions=[one])["anls"]) for one in readings)}


class Chart(Adapter):
    """ChartQA: a number within 5 %, or the same text."""

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return upstream's metrics of the reading that it accepts: "1,200 $" is 1200, and "14%" 0.14 or 14."""
        readings = [reply, reading.stated(reply), reading.number(reply)]
        found = [super(Chart, self).judge(doc, one, upstream) for one in readings if one is not None]
        return max(found, key=lambda metrics: metrics["relaxed_overall"])


class Ocr(Adapter):
    """OCRBench: the answer is in the reply. Upstream divides by 1000 whatever was measured, in module variables."""

    metric = "ocrbench_accuracy"

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return upstream's verdict on this document."""
        found = super().judge(doc, reply, upstream)["ocrbench_accuracy"]
        return {"ocrbench_accuracy": float(found["score"])}
