import io
import json
import logging

import pytest
from PIL import Image

from ovrl import parquet, store
from ovrl.codec import decode_sample
from ovrl.curate.run import OUTPUTS, curate
from ovrl.curate.settings import CurateSettings
from ovrl.manifest import Identity
from ovrl.records import Evidence, ImageRef, Question, Sample
from ovrl.rejects import Rejects


def picture():
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(encoded, "PNG")
    return encoded.getvalue()


def sample(name, *, prompt_type="thinking", image=None, source="synthetic/counting"):
    return Sample(
        id=name,
        images=(image or ImageRef(data=picture(), path="p.png"),),
        question=Question(
            problem="<image>\nHow many?",
            answer=("3",),
            answer_type="number",
            problem_type="counting",
            prompt_type=prompt_type,
            source=source,
        ),
        extra={"license": "CC0"},
    )


def evidence(name, correct, n=8, errors=0):
    return [
        Evidence(
            sample_id=name,
            k=k,
            reward=None if k >= n else float(k < correct),
            status="error" if k >= n else "ok",
            finish_reason="stop",
            answer_type="number",
            accuracy=None if k >= n else float(k < correct),
        )
        for k in range(n + errors)
    ]


def run(path, samples, scored, settings=None, seed=1):
    settings = settings or CurateSettings()
    identity = Identity(command="curate", settings=settings.result_fields(), seed=seed)
    rejects = Rejects(None)
    with store.Directory(path, identity) as output:
        return curate(iter(samples), scored, output, settings, rejects=rejects, seed=seed)


def rows(path):
    return [json.loads(line) for line in (path / "curation.jsonl").read_text().splitlines()]


def stage(path, number):
    return [decode_sample(row, path) for row in parquet.read_rows(path / f"stage{number}.parquet")]


@pytest.fixture
def data():
    samples = [sample(f"fast{i}", prompt_type="normal") for i in range(20)]
    samples += [sample("kept"), sample("easy"), sample("hopeless"), sample("broken"), sample("unseen")]
    scored = [entry for i in range(20) for entry in evidence(f"fast{i}", 3)]
    scored += [*evidence("kept", 2), *evidence("easy", 8), *evidence("hopeless", 0)]
    scored += [*evidence("broken", 0, n=2, errors=6), *evidence("stranger", 1), *evidence("kept", 8)]
    return samples, scored


def test_every_sample_has_one_row_with_its_reason(tmp_path, data):
    result = run(tmp_path / "out", *data)
    got = {row["sample_id"]: row for row in rows(tmp_path / "out")}
    assert len(got) == len(rows(tmp_path / "out")) == 25
    want = {
        "easy": "all_correct",
        "hopeless": "all_wrong",
        "broken": "too_many_errors",
        "unseen": "no_evidence",
    }
    assert {name: got[name]["reason"] for name in want} == want
    assert [got[name]["decision"] for name in ("kept", "easy")] == ["keep", "drop"]
    assert got["kept"]["pass_at_1"] == pytest.approx(0.25)
    assert (got["kept"]["stage"], got["fast0"]["stage"], got["kept"]["weight"]) == (2, 1, 1.0)
    assert got["unseen"]["pass_at_k"] is got["unseen"]["pass_at_k_error"] is None
    assert 0.1 < got["kept"]["pass_at_k_error"] < 0.4
    assert (got["broken"]["n"], got["broken"]["error_rate"]) == (2, 0.75)
    assert (result.unknown_evidence, result.duplicate_evidence) == (8, 8)
    assert result.reasons == {
        "kept": 21,
        "all_correct": 1,
        "all_wrong": 1,
        "too_many_errors": 1,
        "no_evidence": 1,
    }


def test_rows_have_the_fields_of_the_contract(tmp_path, data):
    run(tmp_path / "out", *data)
    contract = (
        "sample_id n correct pass_at_1 pass_at_k k gap mean_reward std_reward chance truncated_rate "
        "error_rate decision reason stage weight source problem_type answer_type prompt_type"
    )
    for row in rows(tmp_path / "out"):
        assert set(contract.split()) <= set(row)


def test_stages_hold_what_was_kept_and_stage_2_repeats_some_of_stage_1(tmp_path, data):
    result = run(tmp_path / "out", *data, settings=CurateSettings(stage2_replay=0.1))
    first, second = stage(tmp_path / "out", 1), stage(tmp_path / "out", 2)
    assert [s.id for s in first] == [f"fast{i}" for i in range(20)]
    assert second[0].id == "kept"
    replayed = second[1:]
    assert len(replayed) == result.replayed == 2
    assert {s.id for s in replayed} < {s.id for s in first}
    assert all(s.question.prompt_type == "normal" for s in replayed)
    assert {r["sample_id"] for r in rows(tmp_path / "out") if r["replayed"]} == {s.id for s in replayed}
    assert first[0].images[0].data == second[0].images[0].data == picture()
    assert first[0].extra == {"license": "CC0"}


def test_only_kept_rows_are_repeated(tmp_path):
    samples = [sample(f"fast{i}", prompt_type="normal") for i in range(12)]
    scored = [entry for i in range(12) for entry in evidence(f"fast{i}", 2 if i < 3 else 0)]
    result = run(tmp_path / "out", samples, scored, CurateSettings(stage2_replay=1.0))
    assert {s.id for s in stage(tmp_path / "out", 2)} == {"fast0", "fast1", "fast2"}
    assert (result.replayed, result.stage2_rows) == (3, 3)


def test_replay_depends_on_the_seed_and_not_on_the_order(tmp_path, data):
    samples, scored = data

    def replay(name, samples, seed):
        run(tmp_path / name, samples, scored, CurateSettings(stage2_replay=0.2), seed)
        return {s.id for s in stage(tmp_path / name, 2)} - {"kept"}

    assert replay("a", samples, 1) == replay("b", samples[::-1], 1)
    assert replay("c", samples, 2) != replay("a2", samples, 1)


def test_samples_may_come_from_a_function_and_are_read_once(tmp_path, data):
    samples, scored = data
    calls = []
    settings = CurateSettings()
    identity = Identity(command="curate", settings=settings.result_fields(), seed=1)
    with store.Directory(tmp_path / "out", identity) as output:

        def read():
            calls.append(1)
            return iter(samples)

        result = curate(read, scored, output, settings, rejects=Rejects(None), seed=1)
    assert calls == [1]
    assert result.overall.samples == 25


def test_the_directory_is_finished_and_describes_its_files(tmp_path, data):
    run(tmp_path / "out", *data)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {*OUTPUTS, "manifest.json", "_SUCCESS"}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["outputs"]["curation.jsonl"]["rows"] == 25
    assert manifest["counts"]["stage2_rows"] == 2


def test_the_report_states_thresholds_and_composition(tmp_path, data):
    run(tmp_path / "out", *data)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["settings"]["pass_threshold"]["bbox"] == 0.5
    assert summary["sources"]["synthetic/counting"]["samples"] == 25
    assert summary["overall"]["kept"] == 21
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "bbox 0.5" in text
    assert "21 of 25 samples kept" in text
    assert "8 scored lines belong to no input sample" in text


def test_rows_suffice_to_threshold_again(tmp_path, data):
    """Another band on the rows alone gives what a second run gives."""
    samples, scored = data
    narrow = CurateSettings(rule="band", band=(0.0, 0.3))
    run(tmp_path / "wide", samples, scored)
    run(tmp_path / "narrow", samples, scored, narrow)
    again = {
        row["sample_id"]
        for row in rows(tmp_path / "wide")
        if row["n"] and row["error_rate"] <= narrow.max_error_rate and 0 < row["mean_reward"] < 0.3
    }
    assert again == {r["sample_id"] for r in rows(tmp_path / "narrow") if r["decision"] == "keep"} == {"kept"}


def test_empty_stages_are_written_and_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "out", [sample("easy")], evidence("easy", 8))
    assert stage(tmp_path / "out", 1) == stage(tmp_path / "out", 2) == []
    assert "stage 1 is empty" in caplog.text
    assert "stage 2 is empty" in caplog.text
    assert "all_correct 1" in caplog.text


def test_an_unreadable_image_drops_its_sample_and_nothing_else(tmp_path):
    lost = sample("lost", image=ImageRef(path=str(tmp_path / "gone.png")))
    run(tmp_path / "out", [lost, sample("kept")], [*evidence("lost", 2), *evidence("kept", 2)])
    assert [s.id for s in stage(tmp_path / "out", 2)] == ["kept"]
    reasons = {row["sample_id"]: (row["decision"], row["reason"]) for row in rows(tmp_path / "out")}
    assert reasons == {"lost": ("drop", "unreadable_image"), "kept": ("keep", "kept")}


def test_the_effect_of_the_correction_is_counted(tmp_path):
    question = Question(problem="A. a B. b C. c D. d", answer=("A",), answer_type="multiple-choice")
    samples = [Sample(id=name, question=question) for name in ("guess", "lucky")]
    result = run(tmp_path / "out", samples, [*evidence("guess", 4, n=16), *evidence("lucky", 11, n=16)])
    effect = result.chance
    assert (effect.guessable, effect.kept_without, effect.kept_with) == (2, 1, 1)
    assert (effect.dropped, effect.admitted) == (1, 1)


def test_nothing_at_all_is_fine(tmp_path):
    result = run(tmp_path / "out", [], [])
    assert result.overall.samples == 0
    assert (tmp_path / "out" / "_SUCCESS").exists()
