"""An upstream task, asked in the words of training and judged on the final answer.

question   upstream's own text, without its instruction about the form of the answer
messages   our instruction (answer only, or thinking), the images, the question: what `ovrl rollout` asks
reply      what stands in the last <answer>, or all that is said outside of the thinking where there is none;
           as the adapter of the benchmark reads it
metrics    upstream's own scorer on that reply; under the name "ovrl" what the report needs of each document
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from ovrl.eval.lmms.harness.adapters import Adapter, adapter
from ovrl.reward.extract import final_answer, spoken
from ovrl.rollout.prompt import INSTRUCTIONS

Named = tuple[str, str]
"""Upstream's function: the folder of its task file, and its dotted name there."""
Doc = Mapping[str, Any]

_SHOWN = 400
"""Longest answer that goes into the report."""


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    """The functions of one overlay task."""

    task: str
    """Name of the upstream task."""
    mode: Literal["fast", "thinking"]
    metric: str | None
    """The metric that the report shows, without its filter."""
    doc_to_text: Named | str
    """Upstream's function, or the column or template that stands for it."""
    doc_to_visual: Named | None = None
    doc_to_messages: Named | None = None
    process_results: Named | None = None
    """None: the adapter judges."""
    process_docs: Named | None = None
    shard: tuple[int, int] = (0, 1)
    """(i, n): every n-th document from the i-th on."""

    def text(self, doc: Doc, lmms_eval_specific_kwargs: Any = None) -> str:
        """Return the question after the instruction, without the images."""
        return f"{self._instruction}\n{self._question(doc, lmms_eval_specific_kwargs)}"

    def messages(self, doc: Doc, lmms_eval_specific_kwargs: Any = None) -> list[dict[str, Any]]:
        """Return the conversation: one turn, with the instruction in front of images and question."""
        options = lmms_eval_specific_kwargs or {}
        if self.doc_to_messages is not None:
            turns = _given(load(*self.doc_to_messages), doc, options)
            content = [part for turn in turns if turn["role"] == "user" for part in turn["content"]]
            content = [
                part | {"text": self._adapter.question(doc, part["text"])} if part["type"] == "text" else part
                for part in content
            ]
            content = [part for part in content if part["type"] != "text" or part["text"].strip()]
        else:
            images = [] if self.doc_to_visual is None else _given(load(*self.doc_to_visual), doc, options)
            content = [{"type": "image", "url": image} for image in images or ()]
            content.append({"type": "text", "text": self._question(doc, options)})
        return [{"role": "user", "content": [{"type": "text", "text": f"{self._instruction}\n"}, *content]}]

    def results(self, doc: Doc, results: Sequence[str], **more: Any) -> dict[str, Any]:
        """Return upstream's metrics of the answer, and what the report needs."""
        answer = final_answer(results[0], "strict")
        said = (_outside(results[0]) if answer is None else answer).strip()
        upstream = None if self.process_results is None else partial(load(*self.process_results), **more)
        metrics = self._adapter.judge(doc, self._adapter.reply(doc, said), upstream)
        own = {
            "answered": answer is not None,
            "answer": said[:_SHOWN],
            "score": self._adapter.score(doc, metrics, self.metric),
            "judge": self._adapter.judged_by,
        }
        return metrics | {"ovrl": own}

    def aggregate(self, values: Sequence[Any]) -> float | None:
        """Return the value of a metric that is the adapter's own."""
        return self._adapter.aggregate(values)

    def docs(self, docs: Any) -> Any:
        """Return the documents of our shard, of those that upstream takes."""
        docs = self._adapter.docs(docs)
        if self.process_docs is not None:
            docs = load(*self.process_docs)(docs)
        index, count = self.shard
        return docs if count == 1 else docs.select(range(index, len(docs), count))

    @cached_property
    def _adapter(self) -> Adapter:
        return adapter(self.task)

    @property
    def _instruction(self) -> str:
        return INSTRUCTIONS["normal" if self.mode == "fast" else "thinking"]

    def _question(self, doc: Doc, options: Any) -> str:
        asked = self.doc_to_text
        if isinstance(asked, str):
            text = str(doc[asked]) if asked in doc else _filled(asked, doc)
        else:
            text = _given(load(*asked), doc, options or {})
        return self._adapter.question(doc, text).strip()


def _outside(said: str) -> str:
    """Return what is said outside of the thinking; nothing when that was cut off."""
    text = spoken(said, "strict")
    return "" if "<think>" in text.lower() else text


def _given(function: Callable[..., Any], doc: Doc, options: Any) -> Any:
    """Call one of upstream's functions, which take the task's options or do not."""
    return function(doc, options) if len(inspect.signature(function).parameters) > 1 else function(doc)


def _filled(template: str, doc: Doc) -> str:
    import jinja2

    return jinja2.Template(template).render(**doc)


def load(folder: str, name: str) -> Any:
    """Return what a task file of `folder` calls `!function name`; each file is run once."""
    *parts, function = name.split(".")
    file = Path(folder) / f"{'.'.join(parts)}.py"
    if not file.exists():  # lmms-eval takes such a name for that of a module
        return getattr(importlib.import_module(".".join(parts)), function)
    known = f"ovrl_upstream.{file}"
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[known] = module
    return getattr(sys.modules[known], function)
