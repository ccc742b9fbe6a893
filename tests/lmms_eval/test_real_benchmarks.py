"""Benchmarks of the table through a real lmms-eval, on made data sets in place of the published ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lmms_runs import ENVIRONMENT, command, variables
from ovrl.eval.lmms import environment, suite, task_files

sys.path.append(str(Path(__file__).parent))
from documents import made

pytestmark = pytest.mark.slow

WANTED = {
    "mathvista": (2, 8, "rules"),  # of its documents, B is right for two
    "seedbench_image": (2, 6, "scorer"),  # the video is left out
    "charxiv_dq": (0, 8, "rules"),
}


@pytest.fixture(scope="session")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of task files that include upstream's, and read made documents."""
    datasets = pytest.importorskip("datasets")
    if not (ENVIRONMENT / "bin" / "python").exists():
        pytest.skip("no lmms-eval; run `make test-lmms`")
    folder, documents = tmp_path_factory.mktemp("replaced"), made()
    found = environment.find(str(ENVIRONMENT))
    files = task_files.index((found.tasks,))
    for name in WANTED:
        task = suite.suite()[name].task
        rows = documents[name].rows()
        file, split = folder / f"{name}.parquet", task_files.read(files[task])["test_split"]
        datasets.Dataset.from_list(rows).to_parquet(file)
        own = f"include: {files[task]}\ntask: {task}\ndataset_path: parquet\ndataset_name: null\n"
        own += f"dataset_kwargs: {{data_files: {{{split}: {file}}}}}\n"
        (folder / f"{name}.yaml").write_text(own)
    return folder


def test_benchmarks_run_to_their_value(replaced: Path, tmp_path: Path):
    flags = ("--tasks", ",".join(WANTED), "--model", "B", "-s", "eval.engine.engine=fake", "-o", tmp_path / "out")
    done = subprocess.run(command(replaced, *flags), env=variables(), capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["benchmarks"]
    found = {
        name: (round(row["value"] * row["items"] / 100, 6), row["items"], row["judge"]) for name, row in rows.items()
    }
    assert found == WANTED
    items = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()]
    assert all(item["score"] in (0.0, 1.0) and "judge" not in item for item in items)
