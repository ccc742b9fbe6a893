"""Each overlay task marks right answers right and wrong ones wrong, by upstream's scorer and aggregation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmms_runs import ENVIRONMENT
from ovrl.eval.lmms import environment, overlay, suite, task_files
from ovrl.rollout.prompt import INSTRUCTIONS

sys.path.append(str(Path(__file__).parent))
from documents import made

pytestmark = pytest.mark.slow

MODES = ("fast", "thinking")
BENCHMARKS = {row.name: row for row in suite.suite().values()}
DOCUMENTS = made()
CASES = [(name, mode) for name in BENCHMARKS for mode in MODES]


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the overlay tasks make of the documents; lmms-eval starts once for all."""
    if not (ENVIRONMENT / "bin" / "python").exists():
        pytest.skip("no lmms-eval; run `make test-lmms`")
    folder = tmp_path_factory.mktemp("overlays")
    found = environment.find(str(ENVIRONMENT))
    files = task_files.index((found.tasks, suite.TASKS))
    plan: dict[str, Any] = {}
    for name, row in BENCHMARKS.items():
        for mode in MODES:
            overlay.write(row, files[row.task], folder, mode=mode, shard=(0, 1), max_new_tokens=77)
        plan[name] = {"task": row.task, "metric": row.metric, "modes": MODES}
    (folder / "plan.json").write_text(json.dumps(plan))
    return judged(found.python, folder)


def judged(python: Path, folder: Path, **more: str) -> dict[str, Any]:
    source = Path(suite.__file__).parents[3]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(source)}
    keys = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MODEL_VERSION", "USE_LLM_JUDGE", "NUM_IMAGE")
    variables = {name: value for name, value in os.environ.items() if name not in keys} | offline | more
    script, out = Path(__file__).with_name("judge_documents.py"), folder / "findings.json"
    done = subprocess.run(
        [str(python), str(script), str(folder), str(out)],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=560,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def found(findings: dict[str, Any], name: str, mode: str) -> dict[str, Any]:
    assert "raised" not in findings[name][mode], findings[name][mode]["raised"]
    return findings[name][mode]


def test_every_benchmark_has_documents_enough():
    assert {name: len(DOCUMENTS[name].cases) >= 5 for name in BENCHMARKS} == dict.fromkeys(BENCHMARKS, True)


@pytest.mark.parametrize(("name", "mode"), CASES)
@pytest.mark.parametrize("form", ["right", "right, thought", "right, bare", "right, sentence"])
def test_right_answers_get_full_marks(findings: dict[str, Any], name: str, mode: str, form: str):
    if not DOCUMENTS[name].spoken and form in ("right, bare", "right, sentence"):
        pytest.skip("code is not spoken in a sentence")
    result = found(findings, name, mode)
    assert result["values"][form] * 100 / BENCHMARKS[name].scale == pytest.approx(100.0), result["scores"][form]
    assert set(result["scores"][form]) <= {1.0, None}


@pytest.mark.parametrize(("name", "mode"), CASES)
@pytest.mark.parametrize("form", ["wrong", "wrong, thought", "nothing", "empty", "cut off"])
def test_wrong_answers_get_none(findings: dict[str, Any], name: str, mode: str, form: str):
    result = found(findings, name, mode)
    assert result["values"][form] == pytest.approx(0.0, abs=DOCUMENTS[name].floor), result["scores"][form]
    assert all(score is None or score <= DOCUMENTS[name].floor for score in result["scores"][form])


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_the_prompt_is_that_of_training(findings: dict[str, Any], name: str, mode: str):
    instruction = INSTRUCTIONS["normal" if mode == "fast" else "thinking"]
    for case, parts in zip(DOCUMENTS[name].cases, found(findings, name, mode)["prompts"], strict=True):
        words = [part for part in parts if part is not None]
        text = "\n".join(words)
        assert parts[0] == f"{instruction}\n"
        assert text.count("<answer>") == 1
        assert parts.count(None) == case.images
        assert all(part.strip() for part in words[1:])
        missing = [one for one in case.shows if one not in text]
        assert not missing, text
        if own := DOCUMENTS[name].instruction:
            assert own not in "\n".join(words[1:]), text


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_there_is_room_for_an_answer_and_nothing_else_touches_it(findings: dict[str, Any], name: str, mode: str):
    result = found(findings, name, mode)
    assert result["filters"] == ["take_first"]
    assert result["generation"] == {"max_new_tokens": 77, "temperature": 0, "do_sample": False, "until": []}


RULES = {"mmbench_en", "mmbench_cn", "mathvista", "wemath", "charxiv_dq", "vl_rewardbench"}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_results_say_what_judged(findings: dict[str, Any], name: str):
    wanted = ["rules"] if name in RULES else ["scorer"]
    assert found(findings, name, "fast")["judges"] == wanted
