"""Scores that are known from earlier lines are those that the rules give."""

import json
from pathlib import Path
from typing import Any

import pytest

from ovrl.reward.batch import Batch, Lines, Part
from ovrl.reward.clock import PROGRESS, Clock
from ovrl.reward.judge import Judge
from ovrl.reward.line_scorer import LineScorer
from ovrl.reward.outcome import Mode
from ovrl.reward.recall import Recall

CORPUS = Path(__file__).parents[3] / "shared" / "conformance" / "rewards.jsonl"
PLAIN: dict[str, Any] = {"completion": "<answer>3</answer>", "answer": "3", "answer_type": "number"}


def scored(lines: list[dict[str, Any]], mode: Mode = "strict", *, scorer: LineScorer | None = None) -> list[Any]:
    """Return the scored lines, and the judged ones' rejects, without their times."""
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    scorer = scorer or fresh(mode)
    parts = list(scorer.score(Batch(lines=Lines(text, 1))))
    out = [json.loads(line) for part in parts for line in part.lines[0].splitlines()]
    bad = [bad.reason for part in parts for bad in part.rejects]
    return [{name: value for name, value in line.items() if name != "elapsed_ms"} for line in out] + bad


def fresh(mode: Mode = "strict") -> LineScorer:
    return LineScorer(Judge(mode=mode), Clock(bytearray(PROGRESS.size)))


def is_recalled(change: dict[str, Any]) -> bool:
    """Return whether a record's score is known once PLAIN and the record itself were scored."""
    recall, part = Recall("strict"), Part()
    lines = [json.dumps(record).encode() for record in (PLAIN, PLAIN | change)]
    for line in lines:
        item, key = recall.run([line], 0, part)
        if item == 0 and key is not None:
            recall.keep(key, {"reward": 1.0}, ("number", "ok"))
    return recall.run(lines, 0, part)[0] == 2


@pytest.mark.skipif(not CORPUS.exists(), reason=f"no corpus at {CORPUS}")
@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_the_second_time_every_score_of_the_corpus_is_the_same(mode: Mode):
    names = ("answer_type", "problem_type", "response", "answer")
    types = {"number", "multiple-choice", "boolean", "bbox", "critic", "any"}
    records = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    lines = [{name: record[name] for name in names if name in record} for record in records
             if record.get("answer_type") in types and record["entry"] == "RewardSystem.reward"]  # fmt: skip
    together = fresh(mode)
    first, second = (scored(lines, mode, scorer=together) for _ in range(2))
    assert len(lines) > 500
    assert first == second
    alone = [entry for line in lines for entry in scored([line], mode)]
    assert sorted(map(json.dumps, alone)) == sorted(map(json.dumps, second))


@pytest.mark.parametrize(
    "change",
    [
        {}, {"completion": "<think>so</think> <answer>3</answer>\n"}, {"completion": "no answer"},
        {"completion": "<answer>3</answer><|im_end|>"}, {"completion": "a < b <answer>3</answer>"},
        {"answer": ["3"]}, {"answer": ["3", "4"]}, {"problem": "How many?"}, {"problem_type": "counting"},
        {"problem_type": "spatial-reasoning", "completion": "<think>[0,0,1,1]</think><answer>3</answer>"},
    ],
)  # fmt: skip
def test_what_an_earlier_line_asked_is_known(change: dict[str, Any]):
    assert is_recalled(change)


@pytest.mark.parametrize(
    "change",
    [
        {"answer_type": "math-expressions"}, {"answer_type": "svg-code"}, {"answer_type": None}, {"answer_type": []},
        {"completion": f"<answer>{'x' * 257}</answer>"}, {"completion": 3}, {"completion": None},
        {"completion": "<answer>1</answer><answer>2</answer><answer>3</answer>"}, {"completion": "x" * 100_001},
        {"meta": {"bbox": {}}}, {"problem": 3}, {"problem_type": []}, {"prompt_type": {}}, {"reward": 1.0},
        {"answer": 3}, {"answer": ["a", 3]}, {"answer": None}, {"completions": []},
    ],
)  # fmt: skip
def test_what_has_to_be_looked_at_is_not_known(change: dict[str, Any]):
    assert not is_recalled(change)


@pytest.mark.parametrize(
    "change",
    [
        {"completion": "<answer>4</answer>"}, {"answer": "4"},
        {"completion": "<answer>3.0</answer>", "answer_type": "any"},
        {"answer": ["4", "5"]}, {"completion": "3"},
    ],
)  # fmt: skip
def test_what_decides_the_score_tells_two_lines_apart(change: dict[str, Any]):
    (same, other) = scored([PLAIN, PLAIN | change])
    assert (same["reward"], other["reward"]) == (1.0, 0.0)


def test_the_box_of_a_spatial_problem_counts_for_its_own_line_alone():
    spatial = PLAIN | {"problem_type": "spatial-reasoning"}
    boxed = spatial | {"completion": "<think>[0, 0, 1, 1]</think><answer>3</answer>"}
    assert [line["reward"] for line in scored([spatial, boxed, spatial, boxed])] == [1.0, 1.5, 1.0, 1.5]


@pytest.mark.parametrize("text", [b'["completion", "answer"]', b'"completion"', b"[1]", b"7", b"null", b"{", b""])
def test_what_is_no_record_is_left_to_the_judge(text: bytes):
    recall = Recall("strict")
    recall.run([json.dumps({"completion": "x", "answer": "x"}).encode()], 0, Part())  # its names are known
    assert recall.run([text], 0, Part()) == (0, None)
