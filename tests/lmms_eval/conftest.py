"""A real lmms-eval, and three small benchmarks of different kinds made here."""

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from lmms_runs import ENVIRONMENT, Evaluate, command, variables

TASK = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/{name}.json}}}}
task: {name}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 16}}
process_results: !function utils.{name}
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
lmms_eval_specific_kwargs: {{default: {{pre_prompt: "", post_prompt: "\\nAnswer with the letter only."}}}}
"""

# Scorers as they are met: a letter, a number that may be given as a word, and a text within a distance.
UTILS = """
from pathlib import Path
from PIL import Image

FOLDER = Path(__file__).parent


def visual(doc):
    return [Image.open(FOLDER / doc["image"]).convert("RGB")]


def text(doc, options):
    return options["pre_prompt"] + doc["question"] + options["post_prompt"]


def choice(doc, results):
    return {"acc": float(results[0].strip() == doc["answer"])}


def count(doc, results):
    return {"acc": {"score": int(results[0]) == int(doc["answer"]) if results[0].isdigit() else False}}


def word(doc, results):
    return {"acc": 1.0 if results[0].lower() == doc["answer"].lower() else 0.0}


def broken(doc, results):
    raise KeyError("no such category")


def silent(doc, results):
    return {"other": 1.0}
"""

DOCUMENTS = {
    "choice": ["A", "B", "B", "B"],
    "count": ["3", "4", "3", "5"],
    "word": ["Exit", "B", "Stop", "b"],
    "broken": ["A"],
    "silent": ["A"],
}


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    Image.new("RGB", (56, 56), "red").save(folder / "red.png")
    (folder / "utils.py").write_text(UTILS)
    for name, answers in DOCUMENTS.items():
        rows = [{"image": "red.png", "question": f"Question {i}?", "answer": a} for i, a in enumerate(answers)]
        (folder / f"{name}.json").write_text(json.dumps(rows))
        task = TASK.format(folder=folder, name=name)
        if name == "count":
            task = task.replace("aggregation: mean", "aggregation: !function counts.mean")
        (folder / f"{name}.yaml").write_text(task)
    (folder / "counts.py").write_text("def mean(found):\n    return sum(one['score'] for one in found) / len(found)\n")
    return folder


@pytest.fixture(scope="session")
def evaluate(benchmarks: Path) -> Evaluate:
    """Return a function that runs `ovrl eval` on the benchmarks."""
    if not (ENVIRONMENT / "bin" / "python").exists():
        pytest.skip("no lmms-eval; run `make test-lmms`")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(benchmarks, *arguments), env=variables(), capture_output=True, text=True, timeout=300
        )

    return run
