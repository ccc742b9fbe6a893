"""Portions, modes and early stops; what each sample's completions are is in `test_run`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builders import identity, ref, sample
from ovrl.errors import OvrlError
from ovrl.json_lines import JsonLines
from ovrl.records import FinishReason, Question, Sample
from ovrl.rejects import Rejects
from ovrl.rollout.fake import ScriptedEngine
from ovrl.rollout.run import roll_out
from ovrl.rollout.settings import RolloutSettings

SAMPLES = [sample(f"s{i}", images=(), problem=f"What is {i}?") for i in range(6)]


class Patience:
    """Has enough of a sample after as many completions as its number says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], int]] = []

    def hear(self, question: Question, text: str, finish_reason: FinishReason) -> str:
        assert finish_reason == "stop"
        return text

    def settled(self, question: Question, heard: Sequence[str], left: int) -> bool:
        self.asked.append((question.problem, list(heard), left))
        return len(heard) > int(question.problem[8])


def run(
    path: Path, samples: list[Sample] = SAMPLES, *, n: int = 8, fail_after: int | None = None, **settings: Any
) -> tuple[dict[str, int], Patience]:
    def script(request: Any, k: int, seed: int) -> str:
        return f"{request.id.split(chr(31))[0]} {k}"

    jury = Patience()
    engine = ScriptedEngine(script, batch_size=3, fail_after=fail_after)
    with JsonLines(str(path), "", identity()) as lines:
        counts = roll_out(
            samples, engine, lines, Rejects(None), RolloutSettings(n=n, **settings), model="m", seed=1, jury=jury
        )
    return counts, jury


def ids(path: Path) -> set[str]:
    lines = [json.loads(line)["id"] for line in path.read_text().splitlines()]
    assert len(lines) == len(set(lines))
    return set(lines)


def test_a_sample_is_asked_in_portions_until_its_verdict_is_settled(tmp_path: Path):
    counts, jury = run(tmp_path / "c.jsonl")
    made = [2, 2, 4, 4, 6, 6]  # portions of two; more than 0, 1, ... 5
    assert ids(tmp_path / "c.jsonl") == {f"s{i}#{k}" for i, count in enumerate(made) for k in range(count)}
    assert (counts["samples"], counts["completions"], counts["saved"]) == (6, 24, 24)
    for problem, heard, left in jury.asked:
        name = f"s{problem[8]}"
        assert heard == [f"{name} {k}" for k in range(len(heard))]
        assert len(heard) + left == 8


@pytest.mark.parametrize("stops", [[0], [1], [5], [11, 1], [3, 3, 3, 3], [23]])
def test_a_resumed_run_stops_where_the_whole_one_did(tmp_path: Path, stops: list[int]):
    whole, _ = run(tmp_path / "whole.jsonl")
    for made in stops:
        with pytest.raises(OvrlError, match="stopped"):
            run(tmp_path / "c.jsonl", fail_after=made)
    counts, _ = run(tmp_path / "c.jsonl", fail_after=24 - sum(stops))
    assert ids(tmp_path / "c.jsonl") == ids(tmp_path / "whole.jsonl")
    assert counts | {"recovered": 0} == whole
    assert counts["recovered"] == sum(stops)


def test_a_number_that_does_not_divide_is_asked_in_full(tmp_path: Path):
    counts, _ = run(tmp_path / "c.jsonl", [SAMPLES[5]], n=7)
    assert ids(tmp_path / "c.jsonl") == {f"s5#{k}" for k in range(6)}
    assert counts["saved"] == 1


def test_what_cannot_be_asked_is_rejected_once(tmp_path: Path):
    bad = sample("bad", images=(ref(),), problem="no mark")
    counts, _ = run(tmp_path / "c.jsonl", [SAMPLES[0], bad, SAMPLES[1]])
    assert (counts["samples"], counts["rejected"], counts["completions"]) == (2, 1, 4)


def test_both_modes_are_two_sets_of_completions(tmp_path: Path):
    seen: dict[tuple[str, int], str] = {}

    def script(request: Any, k: int, seed: int) -> str:
        text = request.prompt.messages[1]["content"][-1]["text"]
        seen[request.id.split("\x1f")[0], k] = "thinking" if "<think>" in text else "normal"
        return str(seed)

    def roll(name: str, mode: Any) -> dict[str, dict[str, Any]]:
        with JsonLines(str(tmp_path / name), "", identity()) as lines:
            settings = RolloutSettings(n=3, prompt_type=mode)
            counts = roll_out(SAMPLES, ScriptedEngine(script), lines, Rejects(None), settings, model="m", seed=1)
        assert counts["samples"] == 6
        return {r["id"]: r for r in map(json.loads, (tmp_path / name).read_text().splitlines())}

    both = roll("both.jsonl", "both")
    assert {name: record["prompt_type"] for name, record in both.items()} == {
        f"s{i}#{k}": "normal" if k < 3 else "thinking" for i in range(6) for k in range(6)
    }
    assert seen == {(r["sample_id"], r["k"]): r["prompt_type"] for r in both.values()}
    assert roll("normal.jsonl", "normal").items() <= both.items()


def test_stopping_early_in_both_modes_is_refused():
    with pytest.raises(ValueError, match="give one mode"):
        RolloutSettings(stop_early=True, prompt_type="both")
