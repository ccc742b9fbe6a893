import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import identity, ref, sample
from ovrl.errors import OvrlError
from ovrl.json_lines import JsonLines
from ovrl.records import ImageRef, Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.rollout import fake
from ovrl.rollout.fake import ScriptedEngine
from ovrl.rollout.run import roll_out
from ovrl.rollout.settings import RolloutSettings, SamplingSettings

SAMPLES = [sample(f"s{i}", images=(), problem=f"What is {i}?") for i in range(5)]


def run(
    path: Path,
    samples: list[Sample],
    *,
    n: int = 3,
    fail_after: int | None = None,
    seed: int = 42,
    **settings: Any,
) -> tuple[dict[str, int], Rejects]:
    """Roll out with an engine that repeats its seed, so that the record tells which seed it was given."""
    engine = ScriptedEngine(lambda request, k, seed: f"{request.id} {k} {seed}", fail_after=fail_after)
    bad = Rejects(path.with_suffix(".bad"))
    with JsonLines(str(path), "", identity()) as lines:
        counts = roll_out(samples, engine, lines, bad, RolloutSettings(n=n, **settings), model="m", seed=seed)
    return counts, bad


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_completion_is_there_once_with_its_own_seed_and_question(tmp_path: Path):
    counts, _ = run(tmp_path / "c.jsonl", SAMPLES)
    found = records(tmp_path / "c.jsonl")
    assert [record["id"] for record in found] == [f"s{i}#{k}" for i in range(5) for k in range(3)]
    for record in found:
        assert record["seed"] == derive_seed(42, record["sample_id"], record["k"])
        assert record["completion"] == f"{record['sample_id']} {record['k']} {record['seed']}"
        assert (record["answer"], record["answer_type"], record["model"]) == (["3"], "number", "m")
        assert record["problem"] == f"What is {record['sample_id'][1]}?"
    assert (counts["samples"], counts["completions"], counts["rejected"]) == (5, 15, 0)


@pytest.mark.parametrize("stops", [[0], [1], [7], [14], [2, 1, 4], [1] * 14])
def test_a_dying_engine_costs_nothing_and_repeats_nothing(tmp_path: Path, stops: list[int]):
    whole, _ = run(tmp_path / "whole.jsonl", SAMPLES)
    for made in stops:
        with pytest.raises(OvrlError, match="stopped"):
            run(tmp_path / "c.jsonl", SAMPLES, fail_after=made)
        assert not (tmp_path / "c.jsonl").exists()
    counts, _ = run(tmp_path / "c.jsonl", SAMPLES, fail_after=15 - sum(stops))  # no more than what is missing
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert counts | {"recovered": 0} == whole  # also the tokens and truncations of the runs before


def test_a_completion_depends_on_seed_sample_and_number_alone(tmp_path: Path):
    run(tmp_path / "a.jsonl", SAMPLES)
    run(tmp_path / "b.jsonl", SAMPLES[::-1], n=5)
    run(tmp_path / "c.jsonl", SAMPLES[3:4])
    run(tmp_path / "d.jsonl", SAMPLES, seed=7)
    one, more, alone, other = ({r["id"]: r["completion"] for r in records(tmp_path / f"{n}.jsonl")} for n in "abcd")
    assert one.items() <= more.items()
    assert alone.items() <= one.items()
    assert not one.items() & other.items()
    assert len({record["seed"] for record in records(tmp_path / "b.jsonl")}) == 25


def test_a_sample_that_cannot_be_asked_is_rejected_and_the_rest_goes_on(tmp_path: Path):
    bad = [
        sample("no-file", images=(ImageRef(path=str(tmp_path / "no.png")),)),
        sample("torn", images=(ImageRef(data=b"\x89PNG\r\n\x1a\n"),)),
        sample("marks", images=(ref(), ref())),
    ]
    mixed = [SAMPLES[0], bad[0], SAMPLES[1], bad[1], bad[2], SAMPLES[2]]
    counts, rejects = run(tmp_path / "c.jsonl", mixed)
    assert {record["sample_id"] for record in records(tmp_path / "c.jsonl")} == {"s0", "s1", "s2"}
    assert rejects.reasons == {"images": 2, "problem": 1}
    assert (counts["samples"], counts["rejected"]) == (3, 3)
    written = records(tmp_path / "c.bad")
    assert [entry["id"] for entry in written] == ["no-file", "torn", "marks"]


def test_a_sample_that_the_engine_refuses_is_rejected_and_the_rest_goes_on(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(fake, "objection", lambda request: "too long" if request.id == "s2" else None)
    counts, _ = run(tmp_path / "c.jsonl", SAMPLES)
    assert {record["sample_id"] for record in records(tmp_path / "c.jsonl")} == {"s0", "s1", "s3", "s4"}
    assert (counts["samples"], counts["completions"], counts["rejected"]) == (4, 12, 1)
    (reject,) = records(tmp_path / "c.bad")
    assert (reject["id"], reject["field"], reject["reason"]) == ("s2", "problem", "too long")


def test_a_stop_string_ends_completions_and_is_recorded(tmp_path: Path):
    run(tmp_path / "c.jsonl", SAMPLES[:1], sampling=SamplingSettings(stop=(" ",)))
    for record in records(tmp_path / "c.jsonl"):
        assert (record["completion"], record["finish_reason"], record["sampling"]["stop"]) == ("s0 ", "stop", [" "])


def test_rejects_are_the_same_after_a_resume(tmp_path: Path):
    mixed = [*SAMPLES[:2], sample("marks", images=(ref(), ref())), *SAMPLES[2:]]
    with pytest.raises(OvrlError):
        run(tmp_path / "c.jsonl", mixed, fail_after=13)
    counts, rejects = run(tmp_path / "c.jsonl", mixed)
    assert (counts["samples"], counts["completions"], rejects.count) == (5, 15, 1)
    assert [entry["id"] for entry in records(tmp_path / "c.bad")] == ["marks"]


def test_the_mode_of_all_can_be_set(tmp_path: Path):
    run(tmp_path / "c.jsonl", SAMPLES, prompt_type="thinking")
    assert {record["prompt_type"] for record in records(tmp_path / "c.jsonl")} == {"thinking"}


def test_tokens_are_written_when_asked_and_a_cut_is_told(tmp_path: Path):
    counts, _ = run(tmp_path / "c.jsonl", SAMPLES[:1], with_tokens=True, sampling=SamplingSettings(max_new_tokens=4))
    for record in records(tmp_path / "c.jsonl"):
        assert (record["finish_reason"], record["completion"]) == ("length", f"s0 {record['k']}")
        assert len(record["token_ids"]) == len(record["logprobs"]) == record["completion_tokens"] == 4
        assert record["sampling"]["max_new_tokens"] == 4
    assert (counts["truncated"], counts["completion_tokens"]) == (3, 12)


CHOICE = sample("c", images=(), problem="Which?\nA. red\nB. blue\nC. green\nD. gray", answer=("B",))
CHOICE = replace(CHOICE, question=replace(CHOICE.question, answer_type="multiple-choice"))
PICTURED = replace(CHOICE, id="p", question=replace(CHOICE.question, problem="Which letter is marked?"))


def test_shuffled_options_carry_their_own_problem_and_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The engine always finds the blue option: its letter is what the line must call right."""
    counts, _ = run(tmp_path / "c.jsonl", [CHOICE, PICTURED, SAMPLES[0]], n=24, shuffle_options=True)
    found = {record["id"]: record for record in records(tmp_path / "c.jsonl")}
    assert len(found) == 72
    golds = set()
    for k in range(24):
        line = found[f"c#{k}"]
        (gold,) = line["answer"]
        assert f"\n{gold}. blue" in line["problem"]
        assert line["shuffled"]["gold"] == gold
        assert line["shuffled"]["order"]["ABCD".index(gold)] == "B"
        assert line["seed"] == derive_seed(42, "c", k)
        golds.add(gold)
    assert golds == set("ABCD")
    for untouched in (PICTURED, SAMPLES[0]):
        assert found[f"{untouched.id}#3"]["problem"] == untouched.question.problem
        assert "shuffled" not in found[f"{untouched.id}#3"]
    assert "1 of 2 multiple-choice samples kept the order" in caplog.text
    assert (counts["shuffled"], counts["unshuffled"]) == (1, 1)


def test_the_model_is_shown_the_shuffled_options(tmp_path: Path):
    seen = {}

    def script(request: Any, k: int, seed: int) -> str:
        seen[k] = request.prompt.messages[1]["content"][-1]["text"]
        return "x"

    settings = RolloutSettings(n=6, shuffle_options=True)
    with JsonLines(str(tmp_path / "c.jsonl"), "", identity()) as lines:
        roll_out([CHOICE], ScriptedEngine(script), lines, Rejects(None), settings, model="m", seed=1)
    for record in records(tmp_path / "c.jsonl"):
        assert seen[record["k"]].endswith(record["problem"])
    assert len({record["problem"] for record in records(tmp_path / "c.jsonl")}) > 2


def test_an_order_depends_on_seed_sample_and_number_alone(tmp_path: Path):
    other = replace(CHOICE, id="d")
    run(tmp_path / "a.jsonl", [CHOICE, other], n=4, shuffle_options=True)
    with pytest.raises(OvrlError):
        run(tmp_path / "b.jsonl", [CHOICE, other], n=4, shuffle_options=True, fail_after=3)
    counts, _ = run(tmp_path / "b.jsonl", [CHOICE, other], n=4, shuffle_options=True)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert counts["shuffled"] == 2
    run(tmp_path / "c.jsonl", [other, CHOICE], n=9, shuffle_options=True)
    a, c = ({r["id"]: r["problem"] for r in records(tmp_path / f"{n}.jsonl")} for n in "ac")
    assert a.items() <= c.items()
