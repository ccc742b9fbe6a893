"""Whatever stands in a record: a finite reward in its range, or null with a status; and always the same."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovrl.json_lines import JsonLines
from ovrl.manifest import Identity
from ovrl.records import ANSWER_TYPES, UNSCORED
from ovrl.rejects import Rejects
from ovrl.reward.batch import Batch, Duty, Lines
from ovrl.reward.clock import PROGRESS, Clock
from ovrl.reward.judge import Judge
from ovrl.reward.line_scorer import LineScorer
from ovrl.reward.line_source import LineSource
from ovrl.reward.run import score_lines
from ovrl.selection import Selection

COMPUTING = ("math-expressions", "svg-code", "general-code")
"""Judged in workers only: a library may take its time."""

FRAGMENTS = st.sampled_from(
    [
        "<answer>", "</answer>", "<think>", "</think>", "<|im_end|>", "\\boxed{", "}", "[", "]", "(", ")", ",", "0.5",
        "-3", "1e999", "nan", "½", "B", "yes", "not", "<svg", "</svg>", "<rect width='9' height='9'/>",
        "<html>", "</html>",
        "```python", "```", "def solution(input):\n    return input", '{"tests": [{"input": "1", "output": "1"}]}',
        "\\frac{1}{0}", "$", "\\sqrt",
        "^", "_", "\x00", "\ud800", "\u202e", "<!--", "-->", "<?xml", "&amp;", "\\text{9**9}",
    ]
)  # fmt: skip
TEXT = st.text(max_size=40) | st.lists(FRAGMENTS | st.text(max_size=3), max_size=12).map("".join)
ANSWERED = TEXT.map(lambda text: f"<answer>{text}</answer>")
RECORD = st.fixed_dictionaries(
    {"completion": TEXT | ANSWERED, "answer": TEXT | st.lists(TEXT, max_size=3) | st.none()},
    optional={
        "answer_type": st.sampled_from(ANSWER_TYPES) | TEXT,
        "problem_type": st.sampled_from(["spatial-reasoning", "stem"]) | TEXT,
        "prompt_type": st.sampled_from(["normal", "thinking", "default"]),
        "problem": TEXT,
        "source": TEXT,
        "meta": st.dictionaries(TEXT, TEXT, max_size=2)
        | st.fixed_dictionaries(
            {"bbox": st.dictionaries(st.sampled_from(["scale", "completion_scale", "width"]), TEXT)}
        ),
    },
)


def holds(record: dict[str, Any]) -> None:
    """Check what the contract promises of a scored line."""
    reward = record["reward"]
    assert (reward is None) == (record["status"] in UNSCORED)
    limit = 1.5 if record.get("problem_type") == "spatial-reasoning" else 1.0
    assert reward is None or (math.isfinite(reward) and 0.0 <= reward <= limit)
    assert all(0.0 <= value <= 1.0 for value in record["components"].values())


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "elapsed_ms"}


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(RECORD.filter(lambda r: r.get("answer_type") not in COMPUTING), max_size=5),
    st.sampled_from(["strict", "ov15"]),
)
def test_any_text_in_any_field_is_scored_and_company_changes_nothing(records: list[dict[str, Any]], mode: Any):
    together = LineScorer(Judge(mode=mode), Clock(bytearray(PROGRESS.size)))
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    for line in [*lines, *reversed(lines)]:  # the second time, much of it is remembered
        alone = LineScorer(Judge(mode=mode), Clock(bytearray(PROGRESS.size)))
        parts = [next(scorer.score(Batch(lines=Lines(line, 1)))) for scorer in (together, alone)]
        assert not parts[0].rejects
        got, want = (json.loads(part.lines[0]) for part in parts)
        assert without_time(got) == without_time(want)
        holds(got)


@pytest.mark.parametrize("answer_type", COMPUTING)
@settings(deadline=None, max_examples=2, suppress_health_check=list(HealthCheck))
@given(st.lists(RECORD, min_size=30, max_size=30), st.sampled_from(["strict", "ov15"]))
def test_any_text_is_scored_by_the_rules_that_compute(answer_type: str, records: list[dict[str, Any]], mode: Any):
    records = [{**record, "answer_type": answer_type, "id": str(n)} for n, record in enumerate(records)]
    with tempfile.TemporaryDirectory() as name:
        first = scored(Path(name) / "first", records, mode, workers=1)
        second = scored(Path(name) / "second", records[::-1], mode, workers=2)
    for record in first:
        holds(record)
    assert [without_time(record) for record in first] == [without_time(record) for record in second[::-1]]


def scored(folder: Path, records: list[dict[str, Any]], mode: Any, workers: int) -> list[dict[str, Any]]:
    folder.mkdir()
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    identity = Identity(command="score", settings={}, machine={}, inputs={}, seed=0, argv=(), limited=False)
    with JsonLines(str(out), "", identity) as output, LineSource([str(source)], Selection()) as lines:
        score_lines(lines, output, Rejects(None), Duty(mode=mode, workers=workers, timeout=60.0))
    return [json.loads(line) for line in out.read_text().split("\n") if line]
