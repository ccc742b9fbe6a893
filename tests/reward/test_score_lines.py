"""The job of scoring: order, resume, purity, and what slow and fatal completions cost the others."""

import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovrl.errors import UsageError
from ovrl.json_lines import JsonLines
from ovrl.manifest import Identity
from ovrl.rejects import Rejects
from ovrl.reward.batch import Duty
from ovrl.reward.line_source import LineSource
from ovrl.reward.run import Tally, _Flight, score_lines
from ovrl.selection import Selection

ODD = """
import os, time

def rule(record):
    if record["completion"] == "hang":
        time.sleep(3600)
    if record["completion"] == "die":
        os.abort()
    return float(len(record["completion"]))
"""
FIELDS = ("reward", "components", "status", "extracted", "scorer", "mode")


def records(count: int, seed: int) -> list[dict[str, Any]]:
    """Return records of several answer types, with repeats, in random order."""
    draw = random.Random(seed)
    kinds = [("number", "3", "3.0"), ("multiple-choice", "B", "(B)"), ("any", "a", "A"),
             ("bbox", "[0,0,1,1]", "[0,0,1,2]"),
             ("ocrtext", "abcd", "abce"), ("boolean", "yes", "no"), ("math-expressions", "1/2", "0.5")]  # fmt: skip
    made: list[dict[str, Any]] = []
    for number in range(count):
        kind, gold, near = draw.choice(kinds)
        said = draw.choice([gold, near, "", f"none {number}"])
        made.append(
            {"id": f"r{number}", "answer_type": kind, "answer": [gold], "completion": f"<answer>{said}</answer>"}
        )
    return made


def run(
    tmp_path: Path,
    lines: list[dict[str, Any]] | bytes,
    name: str = "out",
    *,
    workers: int = 1,
    timeout: float = 20.0,
    rejects: Rejects | None = None,
    **duty: Any,
) -> tuple[list[dict[str, Any]], Tally]:
    source, out = tmp_path / f"{name}.in.jsonl", tmp_path / f"{name}.jsonl"
    text = lines if isinstance(lines, bytes) else "".join(json.dumps(record) + "\n" for record in lines).encode()
    source.write_bytes(text)
    identity = Identity(command="score", settings={}, machine={}, inputs={}, seed=0, argv=(), limited=False)
    with JsonLines(str(out), "", identity) as output, LineSource([str(source)], Selection()) as read:
        tally = score_lines(read, output, rejects or Rejects(None), Duty(**duty, workers=workers, timeout=timeout))
    return [json.loads(line) for line in out.read_bytes().split(b"\n") if line], tally


def verdicts(scored: list[dict[str, Any]]) -> dict[str, Any]:
    return {record["id"]: [record[name] for name in FIELDS] for record in scored}


def test_a_score_does_not_depend_on_order_company_or_workers(tmp_path: Path):
    asked = records(300, seed=1)
    want, _ = run(tmp_path, asked, "forward")
    assert [record["id"] for record in want] == [record["id"] for record in asked]
    assert len({json.dumps(verdict) for verdict in verdicts(want).values()}) > 15
    shuffled = random.Random(2).sample(asked, len(asked))
    for name, lines, workers in (("backward", asked[::-1], 1), ("shuffled", shuffled, 2), ("half", asked[::2], 2)):
        got, _ = run(tmp_path, lines, name, workers=workers)
        assert [record["id"] for record in got] == [record["id"] for record in lines]
        assert verdicts(got).items() <= verdicts(want).items()
    alone = [run(tmp_path, [record], record["id"])[0][0] for record in asked[:4]]
    assert verdicts(alone).items() <= verdicts(want).items()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_hangs_or_dies_costs_itself_alone(tmp_path: Path, workers: int):
    (tmp_path / "odd.py").write_text(ODD)
    said = ["aa", "hang", "b", "die", "hang", "ccc"] + ["d"] * 40 + ["die"]
    lines = [{"id": f"r{n}", "completion": text, "answer": "x"} for n, text in enumerate(said)]
    scored, tally = run(tmp_path, lines, workers=workers, timeout=0.5, reward=f"{tmp_path}/odd.py:rule")
    status = {"hang": "timeout", "die": "error"}
    assert [(r["status"], r["reward"]) for r in scored] == [
        (status.get(text, "ok"), None if text in status else float(len(text))) for text in said
    ]
    assert scored[1]["note"] == "no verdict within 0.5 s"
    assert scored[3]["note"] == "the worker died (killed by signal 6)"
    assert tally.counts() == {
        "lines": 47, "unscored": 4, "status_ok": 43, "status_timeout": 2, "status_error": 2, "unknown_answer_type": 47,
    }  # fmt: skip


def test_one_hang_among_several_completions_of_a_line(tmp_path: Path):
    (tmp_path / "odd.py").write_text(ODD)
    lines = [
        {"id": "a", "completions": ["x", "hang", "yy", "die"], "answer": "x"},
        {"id": "b", "completion": "zzz", "answer": "x"},
    ]
    scored, _ = run(tmp_path, lines, timeout=0.5, reward=f"{tmp_path}/odd.py:rule")
    assert [(r["id"], r["status"], r["reward"]) for r in scored] == [
        ("a#0", "ok", 1.0), ("a#1", "timeout", None), ("a#2", "ok", 2.0), ("a#3", "error", None), ("b", "ok", 3.0),
    ]  # fmt: skip


def test_a_line_that_no_worker_can_hold_is_rejected_and_the_rest_goes_on(tmp_path: Path):
    good = b'{"id": "a", "completion": "<answer>x</answer>", "answer": "x"}\n'
    huge = b'{"id": "huge", "completion": "' + b"x" * 60_000_000 + b'", "answer": "x"}\n'
    rejects = Rejects(tmp_path / "rejects.jsonl")
    scored, _ = run(tmp_path, good + huge + good + good, rejects=rejects, memory_mb=256)
    assert [record["reward"] for record in scored] == [1.0, 1.0, 1.0]
    (rejected,) = (json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines())
    assert rejected["line"] == 2
    assert rejected["reason"].startswith("the line cannot be read: the worker died")


def test_batches_of_one_line_do_not_grow_without_bound():
    size = 1
    for _ in range(1000):  # as a slow pipe gives them
        size = _Flight("x", 1, time.monotonic()).next_size()
    assert size <= 8


def test_a_lone_carriage_return_ends_no_line(tmp_path: Path):
    scored, _ = run(
        tmp_path, b'{"completion": "<answer>x</answer>",\r "answer": "x"}\r\n{"completion": "y", "answer": "x"}\n'
    )
    assert [record["reward"] for record in scored] == [1.0, 0.0]


def resume(tmp_path: Path, lines: list[dict[str, Any]], kept: bytes, **duty: Any) -> tuple[list[Any], Tally]:
    """Score again, as if the first run had been stopped after these bytes."""
    out = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.partial").write_bytes(kept)
    out.unlink()
    manifest = tmp_path / "out.jsonl.manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": None}))
    return run(tmp_path, lines, **duty)


@pytest.mark.parametrize("cut", range(9))
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, cut: int):
    lines: list[dict[str, Any]] = [
        {"id": "a", "completion": "<answer>x</answer>", "answer": "x"},
        {"id": "b", "completions": ["<answer>x</answer>", "<answer>y</answer>", "z"], "answer": "x"},
        {"id": "bad", "answer": "x"},
        *({"id": f"c{n}", "completion": "x", "answer": "x", "answer_type": "number"} for n in range(4)),
    ]
    want, tally = run(tmp_path, lines)
    text = (tmp_path / "out.jsonl").read_bytes()
    ends = [0] + [position + 1 for position, sign in enumerate(text) if sign == 10]
    torn = text[: ends[cut] + 7] if cut < len(ends) - 1 else text
    got, _ = resume(tmp_path, lines, torn)
    strip = [{name: value for name, value in record.items() if name != "elapsed_ms"} for record in got]
    assert strip == [{name: value for name, value in record.items() if name != "elapsed_ms"} for record in want]
    whole = min(cut, 8)
    if whole not in (2, 3):  # in the middle of a line with several completions, that line is scored again
        assert (tmp_path / "out.jsonl").read_bytes().startswith(text[: ends[whole]])
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["counts"] == tally.counts() | {"rejected": 1}


def test_another_input_is_refused_on_resume(tmp_path: Path):
    lines = records(6, seed=3)
    run(tmp_path, lines)
    text = (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(UsageError, match="is not what the output was begun with"):
        resume(tmp_path, lines[::-1], text)
    with pytest.raises(UsageError, match="has fewer lines than were scored"):
        resume_again(tmp_path, lines[:3], text)


def resume_again(tmp_path: Path, lines: list[dict[str, Any]], kept: bytes) -> None:
    (tmp_path / "out.jsonl.partial").write_bytes(kept)
    run(tmp_path, lines)


def test_modes_side_by_side_the_largest_differences_first(tmp_path: Path):
    lines = [
        {"id": "same", "completion": "<answer>3</answer>", "answer": "3", "answer_type": "number"},
        {"id": "sign", "completion": "<answer>-3</answer>", "answer": "-3", "answer_type": "number"},
        {
            "id": "ocr",
            "completion": "<answer>abcd</answer>",
            "answer": "abcd" + " " * 3 + "efgh",
            "answer_type": "ocrtext",
        },
        {"id": "free", "completion": "<answer>know</answer>", "answer": "no", "answer_type": "boolean"},
    ]
    scored, tally = run(tmp_path, lines, compare="ov15")
    # Five edits from "abcd" to "abcd efgh"; the original divides by the eleven signs of the gold as it stands.
    assert [record["compared"]["reward"] for record in scored] == [1.0, 0.0, pytest.approx(1 - 5 / 11), 1.0]
    assert scored[2]["reward"] == 0.0  # 1 - 5 / 9 is below one half
    assert [d["id"] for d in tally.largest_differences()][:2] == ["sign", "free"]
    assert tally.differing["number"] == 1
    (sign,) = [d for d in tally.largest_differences() if d["id"] == "sign"]
    assert (sign["reward"], sign["compared"]["reward"], sign["line"]) == (1.0, 0.0, 2)
    assert (sign["why"], sign["compared"]["why"]) == ("equals a gold answer", "equals no gold answer")


def test_an_explanation_names_rule_gold_and_reason(tmp_path: Path):
    lines = [
        {"completion": "<answer>abcx</answer>", "answer": ["zzzz", "abcd"], "answer_type": "ocrtext"},
        {"completion": "so", "answer": "B", "answer_type": "multiple-choice"},
        {"completion": "<answer>B</answer>", "answer": "", "answer_type": "multiple-choice"},
    ]
    scored, tally = run(tmp_path, lines, explain=True)
    assert [record["explain"] for record in scored] == [
        {"rule": "text", "gold": "abcd", "why": "agrees in part"},
        {"rule": "choice", "gold": "B", "why": "there is no answer in <answer>...</answer>"},
        {"rule": "choice", "gold": "", "why": "the gold answer cannot be read as multiple-choice"},
    ]
    assert len(tally.explained) == 3


def test_nulls_may_be_written_as_a_number(tmp_path: Path):
    lines = [{"completion": "<answer>B</answer>", "answer": "", "answer_type": "any"}]
    scored, _ = run(tmp_path, lines, null_as=-1.0)
    assert (scored[0]["reward"], scored[0]["status"]) == (-1.0, "invalid_gold")


COUNTS = [
    {"id": "a", "completion": "<answer>-3</answer>", "answer": "-3", "answer_type": "number"},
    {"id": "b", "completion": "<answer>1,000</answer>", "answer": "1000", "answer_type": "number"},
    {"id": "c", "completion": "<answer>know</answer>", "answer": "no", "answer_type": "boolean"},
]


@pytest.mark.parametrize("kept", range(4))
def test_a_resumed_comparison_counts_all_of_it(tmp_path: Path, kept: int):
    _, want = run(tmp_path, COUNTS, compare="ov15", null_as=0.5)
    text = (tmp_path / "out.jsonl").read_bytes()
    torn = b"".join(text.splitlines(keepends=True)[:kept])
    _, got = resume(tmp_path, COUNTS, torn, compare="ov15", null_as=0.5)
    assert got.differing == want.differing == {"number": 2, "boolean": 1}
    assert got.largest_differences() == want.largest_differences()
    assert [found["line"] for found in got.largest_differences()] == [1, 2, 3]


def test_modes_are_compared_by_the_rule_that_was_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lines = [{"completion": "<answer>3.0</answer>", "answer": "3", **kind} for kind in ({}, {"answer_type": "any"})]
    scored, tally = run(tmp_path, lines, reward="number", compare="ov15")
    assert [(line["reward"], line["scorer"], line["compared"]["reward"]) for line in scored] == [
        (1.0, "number", 0.0)
    ] * 2
    assert tally.differing == {"unknown": 1, "any": 1}
    assert "scored as 'any'" not in caplog.text
    run(tmp_path, lines, "plain")
    assert "1 lines have no answer_type" in caplog.text


def test_what_is_judged_besides_has_a_time_limit_of_its_own(tmp_path: Path):
    """A rule that hangs when it is asked about one gold alone, as an explanation does."""
    (tmp_path / "odd.py").write_text(
        "import time\ndef rule(record):\n    while len(record['answer']) == 1:\n        time.sleep(1)\n    return 1.0\n"
    )
    lines = [{"id": name, "completion": "x", "answer": [name, "y"]} for name in "ab"]
    scored, tally = run(tmp_path, lines, timeout=0.5, reward=f"{tmp_path}/odd.py:rule", explain=True, compare="ov15")
    assert [(line["reward"], line["status"], line["explain"]["gold"]) for line in scored] == [
        (1.0, "ok", "a"), (1.0, "ok", "b")
    ]  # fmt: skip
    assert [line["compared"]["reward"] for line in scored] == [1.0, 1.0]
    assert tally.counts()["unscored"] == 0


def test_time_to_load_a_library_is_not_the_completions(tmp_path: Path):
    """Sympy alone takes a second to import, and both lines name a rule that needs it, one by its type."""
    lines = [{"completion": "<answer>$x+1$</answer>", "answer": "$1+x$", "answer_type": "math-expressions"}]
    for name, more in (("own", {}), ("asked", {"reward": "math-expressions"})):
        scored, _ = run(tmp_path, [lines[0] | ({"answer_type": "any"} if more else {})], name, timeout=0.4, **more)
        assert (scored[0]["status"], scored[0]["reward"]) == ("ok", 1.0)


@pytest.mark.parametrize("answer_type", ["number", "general-code"])
def test_built_in_rules_are_confined_beside_a_component_of_the_user(tmp_path: Path, answer_type: str):
    canary = tmp_path / "canary"
    canary.write_text("secret")
    (tmp_path / "part.py").write_text(f"def part(record):\n    return float(len(open({str(canary)!r}).read()))\n")
    code = "def solution(text):\n    return text"
    asked = {
        "number": {"completion": "<answer>3</answer>", "answer": "3"},
        "general-code": {
            "completion": f"<answer>```python\n{code}\n```</answer>",
            "answer": json.dumps({"tests": [{"input": "a", "output": "a"}]}),
        },
    }[answer_type]
    lines = [asked | {"answer_type": answer_type}] * 3
    scored, _ = run(tmp_path, lines, components={"part": f"{tmp_path}/part.py:part"}, weights={"part": 1.0})
    assert {(line["status"], line["reward"], line["components"].get("accuracy")) for line in scored} <= {
        ("ok", 6.0, 1.0), ("unsupported", None, None)
    }  # fmt: skip


def test_rows_of_parquet_and_packed_lines_are_scored(tmp_path: Path):
    records = [{"id": f"r{n}", "completion": f"<answer>{n}</answer>", "answer": ["3"], "answer_type": "number"}
               for n in range(600)]  # fmt: skip
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(text))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "in.parquet")
    for name in ("in.jsonl.gz", "in.parquet"):
        out = tmp_path / f"{name}.out.jsonl"
        identity = Identity(command="score", settings={}, machine={}, inputs={}, seed=0, argv=(), limited=False)
        with JsonLines(str(out), "", identity) as output, LineSource([str(tmp_path / name)], Selection()) as read:
            score_lines(read, output, Rejects(None), Duty(workers=1))
        scored = [json.loads(line) for line in out.read_bytes().splitlines()]
        assert [{key: line[key] for key in records[0]} for line in scored] == records
        assert [line["id"] for line in scored if line["reward"]] == ["r3"]
