from pathlib import Path

import pytest

from ovrl.errors import UsageError
from ovrl.eval.lmms import overlay, runner, suite, task_files
from ovrl.eval.lmms.environment import Environment
from ovrl.eval.lmms.suite import Benchmark
from ovrl.eval.lmms.task_files import FunctionName
from ovrl.eval.settings import EvalSettings
from ovrl.selection import Selection

BASE = """
test_split: test
output_type: generate_until
doc_to_text: !function utils.text
doc_to_visual: !function utils.visual
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
lmms_eval_specific_kwargs: {default: {pre_prompt: "Look. ", post_prompt: " Be brief.", shape: round}}
generation_kwargs: {max_new_tokens: 16}
"""
TASK = """
include: _base_yaml
task: "colours"  # a comment
process_results: !function utils.results
generation_kwargs: {max_new_tokens: 8}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "colours").mkdir()
    (tmp_path / "colours" / "_base_yaml").write_text(BASE)
    (tmp_path / "colours" / "colours.yaml").write_text(TASK)
    return tmp_path


def test_a_task_file_has_its_own_fields_over_those_that_it_includes(folder: Path):
    fields = task_files.read(folder / "colours" / "colours.yaml")
    here = str(folder / "colours")
    assert fields["generation_kwargs"] == {"max_new_tokens": 8}
    assert fields["doc_to_text"] == FunctionName(here, "utils.text")
    assert fields["process_results"] == FunctionName(here, "utils.results")
    assert "include" not in fields


def test_tasks_are_found_by_name_and_a_later_folder_goes_first(folder: Path, tmp_path: Path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.yaml").write_text("task: colours\n")
    assert task_files.index((folder / "colours",)) == {"colours": folder / "colours" / "colours.yaml"}
    assert task_files.index((folder / "colours", own))["colours"] == own / "mine.yaml"


def test_a_task_may_have_its_name_from_the_file_that_it_includes(folder: Path):
    (folder / "shapes").mkdir()
    (folder / "shapes" / "_base_yaml").write_text("task: shapes\n")
    (folder / "shapes" / "shapes.yaml").write_text("include: _base_yaml\n")
    (folder / "shapes" / "shapes_round.yaml").write_text("include: _base_yaml\ntask: shapes_round\n")
    found = task_files.index((folder / "shapes",))
    assert {name: file.name for name, file in found.items()} == {
        "shapes": "shapes.yaml",
        "shapes_round": "shapes_round.yaml",
    }


def test_a_broken_task_file_is_named(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(UsageError, match=r"bad\.yaml is not a task file"):
        task_files.read(tmp_path / "bad.yaml")


def written(folder: Path, **options: int) -> tuple[str, dict[str, object]]:
    out = folder / "overlay"
    out.mkdir()
    benchmark = Benchmark(name="colours", task="colours", title="Colours", group="Given")
    file = folder / "colours" / "colours.yaml"
    overlay.write(benchmark, file, out, mode="fast", shard=(1, 3), max_new_tokens=options.get("max_new_tokens", 77))
    return (out / "colours_ovrl_fast.py").read_text(), task_files.read(out / "colours_ovrl_fast.yaml")


def test_an_overlay_asks_and_judges_in_our_way_and_keeps_the_rest(folder: Path):
    module, fields = written(folder)
    assert fields["task"] == "colours_ovrl_fast"
    assert fields["test_split"] == "test"
    assert fields["generation_kwargs"] == {"max_new_tokens": 77, "temperature": 0, "do_sample": False, "until": []}
    assert fields["lmms_eval_specific_kwargs"] == {"default": {"pre_prompt": "", "post_prompt": "", "shape": "round"}}
    assert fields["process_results"] == FunctionName(str(folder / "overlay"), "colours_ovrl_fast.process_results")
    assert "process_results=" in module
    assert "metric='acc'" in module
    assert "shard=(1, 3)" in module


def test_a_task_that_is_no_question_is_refused(folder: Path):
    (folder / "colours" / "_base_yaml").write_text(BASE.replace("generate_until", "loglikelihood"))
    with pytest.raises(UsageError, match="of the kind loglikelihood"):
        written(folder)


def test_a_task_without_a_scorer_is_refused(folder: Path):
    (folder / "colours" / "colours.yaml").write_text("include: _base_yaml\ntask: colours\n")
    with pytest.raises(UsageError, match="has no process_results"):
        written(folder)


def test_the_published_table_has_its_26_rows_in_its_four_groups():
    rows = suite.choose("all")
    groups = [row.group for row in rows]
    assert [groups.count(group) for group in dict.fromkeys(groups)] == [9, 6, 7, 4]
    assert len({row.task for row in rows}) == len(rows) == 26
    assert all(row.metric and row.published for row in rows)


def test_a_benchmark_that_was_not_tried_is_warned_of(folder: Path, caplog: pytest.LogCaptureFixture):
    environment = Environment(Path("python"), folder, "0")
    plan = {"model": "m", "mode": "fast", "settings": EvalSettings(), "selection": Selection(), "seed": 0}
    runner.check(runner.Plan(benchmarks=tuple(suite.choose("unisvg,refl4")), **plan), environment)
    assert [record.getMessage() for record in caplog.records] == [
        "unisvg: the columns of the data set are assumed",
    ]


def test_names_are_benchmarks_or_tasks_as_they_are():
    known, other = suite.choose("mathvista, some_task")
    assert known.title == "MathVista mini"
    assert (other.task, other.metric) == ("some_task", None)


@pytest.mark.parametrize(("names", "word"), [("", "names no benchmark"), ("ai2d,ai2d", "names ai2d twice")])
def test_a_bad_list_of_names_is_refused(names: str, word: str):
    with pytest.raises(UsageError, match=word):
        suite.choose(names)


def test_a_misspelt_name_gets_a_suggestion():
    assert "mathvista" in str(suite.unknown("mathvist", ["mathverse"]))
