"""Runs in lmms-eval's environment: judge made documents with each overlay task, and say what came out, as JSON.

usage: judge_documents.py FOLDER OUT, where FOLDER has the task files of `overlay.write` and plan.json:
{benchmark: {"metric": ..., "task": ..., "modes": [...]}}
"""

import inspect
import json
import os
import statistics
import sys
import traceback
from pathlib import Path
from typing import Any

from documents import Case, Made, made

from ovrl.eval.lmms.harness.adapters import adapter
from ovrl.eval.lmms.harness.launch import _declare_torchvision


def replies(case: Case) -> dict[str, str]:
    """Return what a model may say: right, wrong, and without tags."""
    return {
        "right": f"<answer>{case.gold}</answer>",
        "right, thought": f"<think>{case.wrong}? <answer>{case.wrong}</answer></think>\n<answer>{case.gold}</answer>",
        "right, bare": case.gold,
        "right, sentence": f"The answer is {case.gold.rstrip('.')}.",
        "wrong": f"<answer>{case.wrong}</answer>",
        "wrong, thought": f"<think>It could be {case.gold}.</think> <answer>{case.wrong}</answer>",
        "nothing": "I cannot tell from this picture.",
        "empty": "<answer></answer>",
        "cut off": f"<think>It could be {case.gold}, or {case.wrong}",
    }


def loaded(data: Made, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the documents as lmms-eval gives them to the task."""
    if not data.loaded:
        return data.rows()
    import datasets

    return list(config["process_docs"](datasets.Dataset.from_list(data.rows())))


def value(config: dict[str, Any], metric: str, found: list[dict[str, Any]]) -> Any:
    """Return what lmms-eval would show."""
    (entry,) = (one for one in config["metric_list"] if one["metric"] == metric)
    values = [one[metric] for one in found]
    aggregate = entry["aggregation"]
    if aggregate == "mean":
        return statistics.fmean(values)
    return aggregate(values, args=None) if "args" in inspect.signature(aggregate).parameters else aggregate(values)


def prompt(config: dict[str, Any], doc: dict[str, Any]) -> list[str | None]:
    """Return the parts of the one turn; an image is None."""
    (turn,) = config["doc_to_messages"](doc, config["lmms_eval_specific_kwargs"]["default"])
    return [part["text"] if part["type"] == "text" else None for part in turn["content"]]


def judge(data: Made, task: str, yaml: Path, metric: str) -> dict[str, Any]:
    """Return the prompts, the value of each form of reply, and the scores of the documents."""
    from lmms_eval.utils import load_yaml_config

    os.environ |= adapter(task).environment
    config = load_yaml_config(yaml_path=str(yaml))
    docs = loaded(data, config)
    values, scores, judges = {}, {}, set()
    for form in replies(data.cases[0]):
        said = [replies(case)[form] for case in data.cases]
        found = [config["process_results"](doc, [one]) for doc, one in zip(docs, said, strict=True)]
        values[form] = value(config, metric, found)
        scores[form] = [one["ovrl"]["score"] for one in found]
        judges |= {one["ovrl"]["judge"] for one in found}
    filters = [step["function"] for entry in config["filter_list"] for step in entry["filter"]]
    return {
        "values": values, "scores": scores, "judges": sorted(judges), "filters": filters,
        "generation": config["generation_kwargs"], "prompts": [prompt(config, doc) for doc in docs],
    }  # fmt: skip


def main(folder: Path, out: Path) -> None:
    _declare_torchvision()
    documents, findings = made(), {}
    for name, row in json.loads((folder / "plan.json").read_text()).items():
        for mode in row["modes"]:
            try:
                found = judge(
                    documents[name],
                    row["task"],
                    folder / f"{row['task']}_ovrl_{mode}.yaml",
                    row["metric"].split(",")[0],
                )
            except Exception:  # noqa: BLE001 - the test that asserts on it shows it
                found = {"raised": traceback.format_exc()}
            findings.setdefault(name, {})[mode] = found
    out.write_text(json.dumps(findings))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
