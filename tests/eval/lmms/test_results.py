import json
from pathlib import Path
from typing import Any

import pytest

from ovrl.errors import MetricError, OvrlError, UsageError
from ovrl.eval.lmms import baseline, results, runner
from ovrl.eval.lmms.suite import Benchmark

TASK = "colours_ovrl_fast"


def benchmark(**fields: Any) -> Benchmark:
    return Benchmark(**{"name": "colours", "task": "colours", "title": "Colours", "group": "Given"} | fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, {"alias": TASK, "acc,none": 0.5, "acc_stderr,none": "N/A", "samples": 2})
    return tmp_path


def write(folder: Path, block: dict[str, Any] | None, documents: int = 2, effective: int = 2) -> None:
    output = folder / "output" / "model"
    output.mkdir(parents=True, exist_ok=True)
    content = {
        "results": {} if block is None else {TASK: block},
        "n-samples": {TASK: {"original": 9, "effective": effective}},
    }
    (output / "20260101_results.json").write_text(json.dumps(content))
    samples = [
        {"doc_id": i, "target": "A", "ovrl": {"answered": True, "answer": "A", "score": float(i)}}
        for i in reversed(range(documents))
    ]
    (output / f"20260101_samples_{TASK}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    finishes = [{"doc_id": i, "finish_reason": "length", "tokens": 3} for i in range(documents)]
    (folder / "finishes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in finishes))


def read(folder: Path, **fields: Any) -> results.TaskResult:
    return results.read(folder / "output", TASK, benchmark(**fields), folder / "finishes.jsonl")


def test_a_result_is_in_percent_and_its_documents_in_order(folder: Path):
    found = read(folder)
    assert (found.value, found.metric) == (50.0, "acc,none")
    assert [item["doc_id"] for item in found.items] == [0, 1]
    said = {"answered": True, "answer": "A", "score": 1.0}
    assert found.items[1] == {"doc_id": 1, "target": "A", "finish_reason": "length", "tokens": 3} | said


def test_what_judged_is_said_once_and_not_of_each_document(folder: Path):
    assert read(folder).judge == "scorer"
    samples = next(folder.rglob("*_samples_*"))
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        line["ovrl"]["judge"] = "rules"
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read(folder)
    assert found.judge == "rules"
    assert all("judge" not in item for item in found.items)


def test_a_metric_that_is_in_percent_already_stays(folder: Path):
    assert read(folder, scale=100.0).value == 0.5


@pytest.mark.parametrize(("given", "value"), [("69.40%", 69.4), ("0.5", 0.5), (1, 1.0), (0.25, 0.25)])
def test_numbers_are_read_as_tasks_write_them(given: Any, value: float):
    assert results.number(given) == value


@pytest.mark.parametrize("given", [None, "N/A", float("nan"), True, {}, "inf"])
def test_what_is_no_number_is_none(given: Any):
    assert results.number(given) is None


@pytest.mark.parametrize(
    ("block", "fields", "error", "word"),
    [
        (None, {}, OvrlError, "do not have the task"),
        ({"acc,none": None}, {}, MetricError, "is None, and no number"),
        ({"acc,none": 1.0}, {"metric": "anls,none"}, MetricError, "no metric 'anls,none', but acc,none"),
        ({"acc,none": 1.0, "f1,none": 1.0}, {}, MetricError, "acc,none, f1,none; ovrl shows one"),
        ({"samples": 2}, {}, MetricError, "has the metrics none"),
    ],
)
def test_a_missing_metric_is_an_error(
    folder: Path, block: dict[str, Any] | None, fields: dict[str, Any], error: type[OvrlError], word: str
):
    write(folder, block)
    with pytest.raises(error, match=word):
        read(folder, **fields)


def test_documents_without_a_line_are_an_error(folder: Path):
    write(folder, {"acc,none": 0.5}, documents=1, effective=2)
    with pytest.raises(OvrlError, match=f"over 2 documents, and 20260101_samples_{TASK}.jsonl has 1"):
        read(folder)


def test_no_results_at_all_are_an_error(tmp_path: Path):
    with pytest.raises(OvrlError, match="wrote no results"):
        results.read(tmp_path, TASK, benchmark(), tmp_path / "finishes.jsonl")


def test_the_interval_stands_around_the_value_and_has_the_width_of_the_documents():
    found = runner.spread(60.0, [1.0] * 50 + [0.0] * 50, seed=1)
    assert found is not None
    assert found.mean == 60.0
    half = 1.96 * 100 * (0.25 / 100) ** 0.5  # of a mean of 100 coins, in percent
    assert found.high - found.mean == pytest.approx(half, rel=0.15)
    assert found.mean - found.low == pytest.approx(half, rel=0.15)


def test_there_is_no_interval_where_a_document_has_no_score():
    assert runner.spread(60.0, [1.0, None], seed=1) is None
    assert runner.spread(60.0, [], seed=1) is None


def test_groups_are_means_of_their_rows():
    rows = {"a": {"group": "x", "value": 1.0}, "b": {"group": "x", "value": 2.0}, "c": {"group": "y", "value": 9.0}}
    assert runner.averages(rows) == {"x": 1.5, "y": 9.0}


def finished(folder: Path, scores: list[float]) -> Path:
    folder.mkdir()
    value = 100 * sum(scores) / len(scores)
    (folder / "results.json").write_text(json.dumps({"benchmarks": {"colours": {"value": value}}}))
    lines = [{"benchmark": "colours", "doc_id": i, "score": score} for i, score in enumerate(scores)]
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_gain_is_paired_by_document(tmp_path: Path):
    before = finished(tmp_path / "before", [0.0, 1.0] * 50)
    after = finished(tmp_path / "after", [1.0, 1.0] + [0.0, 1.0] * 49)  # one document better, none worse
    gain = baseline.compare(before, after, seed=1)["colours"]
    assert gain["gain"] == pytest.approx(1.0)
    assert gain["items"] == 100
    assert gain["low"] == pytest.approx(0.0)
    assert 2.0 <= gain["high"] <= 4.0  # a binomial of 100 and 1/100 is at most 3 in 97.5 % of draws


def test_a_baseline_that_is_none_is_refused(tmp_path: Path):
    after = finished(tmp_path / "after", [1.0])
    with pytest.raises(UsageError, match="cannot be read"):
        baseline.compare(tmp_path / "nothing", after, seed=1)
    other = finished(tmp_path / "other", [1.0])
    (other / "results.json").write_text(json.dumps({"benchmarks": {"shapes": {"value": 1.0}}}))
    with pytest.raises(UsageError, match="none of these benchmarks, but shapes"):
        baseline.compare(other, after, seed=1)
