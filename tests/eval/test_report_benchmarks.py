import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ovrl.eval.lmms import suite
from ovrl.eval.report import benchmarks, build_report
from ovrl.eval.report.gather import gather

BASE, TRAINED = "models/base", "out/final"


def run(folder: Path, started: int, model: str, mode: str, values: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    manifest = {"command": "eval", "argv": ["ovrl", "eval"], "started": f"2026-01-01T00:{started:02d}:00+00:00"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "_SUCCESS").touch()
    rows = {
        name: {"value": value, "low": low, "high": high, "items": 100, "metric": "acc,none", "judge": "rules",
               "no_answer_rate": 0.25, "truncated_rate": 0.0, "group": "Given", "title": name}
        for name, (value, low, high) in values.items()
    }  # fmt: skip
    content = {"schema": "ovrl.benchmarks/1", "model": model, "mode": mode, "benchmarks": rows}
    (folder / "results.json").write_text(json.dumps(content))
    (folder / "items.jsonl").write_text("")


def around(value: float, half: float = 1.0) -> tuple[float, float, float]:
    return value, value - half, value + half


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    run(folder / "base", 1, BASE, "fast", {"mmstar": around(67.0), "realworldqa": around(60.0)})
    run(folder / "think", 2, TRAINED, "thinking", {"mmstar": around(70.0)})
    run(folder / "quick", 3, TRAINED, "fast", {"mmstar": (68.0, None, None), "mytask": around(50.0)})
    return folder


def tables(source: Path) -> dict[str, dict[str, list[str]]]:
    made = benchmarks.section(gather(source).benchmarks)
    return {table.title: {row[0]: list(row[1:]) for row in table.rows} for table in made.tables}


def test_each_mode_has_its_column_beside_the_published_ones(source: Path):
    made = benchmarks.section(gather(source).benchmarks)
    assert made.tables[0].header[:4] == ("benchmark", "base", "thinking", "fast")
    rows = tables(source)["General VQA"]
    # published: 67.7 68.2 68.3; without an interval nothing is marked
    assert rows["MMStar"] == ["67.0 [66.0, 68.0]", "70.0 [69.0, 71.0] ▲", "68.0", "67.7", "68.2", "68.3"]
    assert rows["RealWorldQA"] == ["60.0 [59.0, 61.0] ▼", "", "", "68.1", "68.4", "70.6"]
    assert rows["average of the rows"] == [
        "63.5", "70.0 (1 of 2 rows)", "68.0 (1 of 2 rows)", "67.9", "68.3", "69.4",
    ]  # fmt: skip
    assert tables(source)["Given"]["mytask"] == ["", "", "50.0 [49.0, 51.0]", "", "", ""]


def test_a_later_run_of_the_same_kind_goes_first_for_its_benchmarks(source: Path):
    run(source / "again", 4, TRAINED, "fast", {"mytask": around(55.0)})
    assert tables(source)["Given"]["mytask"][2] == "55.0 [54.0, 56.0]"
    assert tables(source)["General VQA"]["MMStar"][2] == "68.0"


def test_a_single_model_is_no_base(tmp_path: Path):
    run(tmp_path / "runs" / "quick", 1, TRAINED, "fast", {"mmstar": around(68.0)})
    (column,) = benchmarks.columns(gather(tmp_path / "runs").benchmarks)
    assert (column.name, column.model) == ("fast", TRAINED)


def test_averages_that_were_printed_wrong_are_said(tmp_path: Path):
    """Others, thinking: (65.7 + 86.8 + 44.0 + 79.1) / 4 = 68.9, and 66.0 is printed; fast: 71.85, and 71.6."""
    names = [name for name, row in suite.suite().items() if row.group in ("Others", "Reasoning")]
    run(tmp_path / "runs" / "quick", 1, TRAINED, "fast", {name: around(50.0) for name in names})
    intro = benchmarks.section(gather(tmp_path / "runs").benchmarks).intro
    assert "printed averages of Others are not those of its rows: thinking 66.0 is 68.9, fast 71.6 is 71.8" in intro
    assert "averages of Reasoning" not in intro
    run(tmp_path / "some" / "quick", 1, TRAINED, "fast", {"vstar": around(50.0)})
    assert "printed" not in benchmarks.section(gather(tmp_path / "some").benchmarks).intro


def test_the_page_shows_the_table_and_what_judged(source: Path, tmp_path: Path):
    build_report(source, tmp_path / "page.html")
    words: list[str] = []
    reader = HTMLParser()
    reader.handle_data = words.append
    reader.feed((tmp_path / "page.html").read_text())
    text = " ".join(" ".join(words).split())
    assert "This page shows 3 runs of benchmarks" in text
    assert "base: models/base (base); thinking: out/final (think); fast: out/final (quick)" in text
    assert "mmstar base acc,none rules 25.0% 0.0% 100" in text
    assert "Evaluation" not in text
