"""Write the task files of a run: each includes an upstream task, and replaces how it is asked and judged.

    tasks/realworldqa_ovrl_fast.yaml    includes realworldqa.yaml
    tasks/realworldqa_ovrl_fast.py      its functions

They work with plain lmms-eval too (`--include_path`), where ovrl is installed beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ovrl import store
from ovrl.errors import UsageError
from ovrl.eval.lmms.harness.adapters import adapter, judges
from ovrl.eval.lmms.suite import Benchmark
from ovrl.eval.lmms.task_files import FunctionName, read

_MODULE = '''"""How {task} is asked and judged in {mode} mode; written by `ovrl eval`."""

from ovrl.eval.lmms.harness.wrapped import Wrapped

_task = Wrapped(
{fields}
)
doc_to_text, doc_to_messages = _task.text, _task.messages
process_results, process_docs, aggregate = _task.results, _task.docs, _task.aggregate
'''

_METRIC = """metric_list:
  - {{metric: {metric}, aggregation: !function {task}.aggregate, higher_is_better: true}}
"""
_FUNCTIONS = ("doc_to_text", "doc_to_messages", "process_results", "process_docs")


def name(benchmark: Benchmark, mode: str) -> str:
    """Return the name of the overlay task."""
    return f"{benchmark.task}_ovrl_{mode}"


def write(
    benchmark: Benchmark, file: Path, folder: Path, *, mode: str, shard: tuple[int, int], max_new_tokens: int
) -> None:
    """Write the overlay of one benchmark into `folder`.

    Args:
        benchmark: what is measured.
        file: its upstream task file.
        folder: where the overlay goes.
        mode: fast or thinking.
        shard: (i, n): every n-th document from the i-th on.
        max_new_tokens: room for an answer; upstream leaves some tasks 16, which our tags alone use up.

    Raises:
        UsageError: the task is no question with an answer.
    """
    upstream = read(file)
    kind = upstream.get("output_type", "generate_until")
    if kind != "generate_until":
        raise UsageError(f"--tasks {benchmark.name}: {file.name} is of the kind {kind}; ovrl evaluates answers")
    if "process_results" not in upstream and not judges(benchmark.task):
        raise UsageError(f"--tasks {benchmark.name}: {file.name} has no process_results that could be given an answer")
    needs = adapter(benchmark.task)
    wrapped = {
        "task": benchmark.task,
        "mode": mode,
        "metric": needs.metric or (benchmark.metric.split(",")[0] if benchmark.metric else _only_metric(upstream)),
        **{key: _plain(upstream[key]) for key in (*_FUNCTIONS, "doc_to_visual") if upstream.get(key) is not None},
        "shard": shard,
    }
    own = name(benchmark, mode)
    fields = "\n".join(f"    {key}={value!r}," for key, value in wrapped.items())
    store.write_atomic(folder / f"{own}.py", _MODULE.format(task=benchmark.task, mode=mode, fields=fields))
    options = {"max_new_tokens": max_new_tokens, "temperature": 0, "do_sample": False, "until": []}
    body = {
        "include": str(file),
        "task": own,
        "generation_kwargs": options,
        "lmms_eval_specific_kwargs": {"default": {**_emptied(upstream), **needs.options}},
        "filter_list": [{"name": "none", "filter": [{"function": "take_first"}]}],  # ours has taken the answer already
    }
    functions = "".join(f"{key}: !function {own}.{key}\n" for key in _FUNCTIONS)
    if needs.metric:
        functions += _METRIC.format(metric=needs.metric, task=own)
    store.write_atomic(folder / f"{own}.yaml", yaml.safe_dump(body, sort_keys=False) + functions)


def _only_metric(upstream: Mapping[str, Any]) -> str | None:
    metrics = [entry["metric"] for entry in upstream.get("metric_list", ())]
    return metrics[0] if len(metrics) == 1 else None


def _emptied(upstream: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task's default options with its instructions taken out."""
    options = (upstream.get("lmms_eval_specific_kwargs") or {}).get("default") or {}
    return options | {"pre_prompt": "", "post_prompt": ""}


def _plain(value: Any) -> Any:
    return (value.folder, value.name) if isinstance(value, FunctionName) else value
