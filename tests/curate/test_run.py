import json
import logging
import random

import pyarrow.parquet as pq
import pytest
from scored import evidence, hits, score

from builders import picture
from builders import sample as build
from ovrl import store
from ovrl.curate import shards
from ovrl.curate.mixture import Mixture
from ovrl.curate.run import OUTPUTS, curate
from ovrl.curate.settings import CurateSettings
from ovrl.manifest import Identity
from ovrl.records import ImageRef, Question, Sample
from ovrl.rejects import Rejects
from ovrl.samples import read_samples


def sample(name, *, prompt_type="thinking", image=None, **fields):
    given = {"problem_type": "stem", "problem": "<image>\nHow many?", "extra": {"license": "CC0"}, **fields}
    return build(name, images=(image or ImageRef(data=picture(), path="p.png"),), prompt_type=prompt_type, **given)


def run(path, samples, scored, settings=None, seed=1, mixture=None, rejects=None):
    settings = settings or CurateSettings()
    identity = Identity(command="curate", settings=settings.result_fields(), seed=seed)
    rejects = rejects or Rejects(None)
    with store.Directory(path, identity) as output:
        return curate(iter(samples), evidence(scored), output, settings, mixture=mixture, rejects=rejects, seed=seed)


def rows(path):
    return [json.loads(line) for line in (path / "curation.jsonl").read_text().splitlines()]


def reasons(path):
    return {row["sample_id"]: row["reason"] for row in rows(path)}


def stage(path, number):
    """Return the samples of a stage; stage 2 may hold rows twice over with stage 1, and none twice itself."""
    return list(read_samples(str(path / f"stage{number}"), Rejects(None)))


@pytest.fixture
def data():
    samples = [sample(f"fast{i}", prompt_type="normal") for i in range(20)]
    samples += [sample("kept"), sample("easy"), sample("hopeless"), sample("broken"), sample("unseen")]
    scored = [entry for i in range(20) for entry in hits(f"fast{i}", 3, n=8)]
    scored += [*hits("kept", 2, n=8), *hits("easy", 8, n=8), *hits("hopeless", 0, n=8)]
    scored += [*hits("broken", 0, n=2, errors=6), *hits("stranger", 1, n=8), *hits("kept", 2, n=8)]
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
    assert (result.scores.unknown, result.scores.duplicate) == (8, 8)
    assert result.reasons == {"kept": 21, "all_correct": 1, "all_wrong": 1, "too_many_errors": 1, "no_evidence": 1}


def test_rows_have_the_fields_of_the_contract(tmp_path, data):
    run(tmp_path / "out", *data)
    contract = (
        "sample_id n correct pass_at_1 pass_at_k k gap mean_reward std_reward chance truncated_rate "
        "error_rate decision reason stage weight source problem_type answer_type prompt_type"
    )
    for row in rows(tmp_path / "out"):
        assert set(contract.split()) <= set(row)


def test_scores_without_a_sample_are_rejected_by_name(tmp_path, data):
    bad = Rejects(tmp_path / "bad.jsonl")
    run(tmp_path / "out", *data, rejects=bad)
    (entry,) = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert (entry["id"], entry["field"]) == ("stranger", "sample_id")
    assert entry["reason"] == "8 scores of 'stranger', which is none of the samples"


def test_stages_hold_what_was_kept_and_stage_2_repeats_some_of_stage_1(tmp_path, data):
    result = run(tmp_path / "out", *data, CurateSettings(stage2_replay=0.1))
    first, second = stage(tmp_path / "out", 1), stage(tmp_path / "out", 2)
    assert [s.id for s in first] == [f"fast{i}" for i in range(20)]
    assert second[0].id == "kept"
    replayed = second[1:]
    assert len(replayed) == result.replayed == 2
    assert result.stage2_rows == 3
    assert {s.id for s in replayed} < {s.id for s in first}
    assert all(s.question.prompt_type == "normal" for s in replayed)
    assert {r["sample_id"] for r in rows(tmp_path / "out") if r["replayed"]} == {s.id for s in replayed}
    assert first[0].images[0].data == second[0].images[0].data == picture()
    assert first[0].extra == {"license": "CC0"}


def test_only_kept_rows_are_repeated(tmp_path):
    samples = [sample(f"fast{i}", prompt_type="normal") for i in range(12)]
    scored = [entry for i in range(12) for entry in hits(f"fast{i}", 2 if i < 3 else 0, n=8)]
    result = run(tmp_path / "out", samples, scored, CurateSettings(stage2_replay=1.0))
    assert {s.id for s in stage(tmp_path / "out", 2)} == {"fast0", "fast1", "fast2"}
    assert (result.replayed, result.stage2_rows) == (3, 3)


def test_the_order_of_the_input_changes_the_order_of_the_rows_alone(tmp_path, data):
    samples, scored = data
    settings = CurateSettings(stage2_replay=0.2, selection={"size": 12, "by": "problem_type", "weight": "gap"})
    rng = random.Random(1)
    run(tmp_path / "a", samples, scored, settings)
    run(tmp_path / "b", samples[::-1], rng.sample(scored, len(scored)), settings)
    assert sorted(rows(tmp_path / "a"), key=str) == sorted(rows(tmp_path / "b"), key=str)
    for number in (1, 2):
        assert {s.id for s in stage(tmp_path / "a", number)} == {s.id for s in stage(tmp_path / "b", number)}
    for name in ("summary.json", "report.md", "README.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    run(tmp_path / "c", samples, scored, settings)
    for name in ("curation.jsonl", "report.html", "stage1/part-00000-of-00001.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    run(tmp_path / "d", samples, scored, settings, seed=2)
    assert reasons(tmp_path / "d") != reasons(tmp_path / "a")


def test_a_size_is_kept_to_and_the_others_say_why(tmp_path, data):
    result = run(tmp_path / "out", *data, CurateSettings(selection={"size": 5}))
    assert result.overall.kept == 5
    assert result.reasons["not_sampled"] == 16
    assert sum(row["weight"] for row in rows(tmp_path / "out")) == 5.0
    assert len(stage(tmp_path / "out", 1)) == result.stages["1"].kept


def test_a_mixture_sets_the_composition(tmp_path):
    kinds = [("stem", 30), ("ocr", 10), ("coding", 5)]
    samples = [sample(f"{kind}{i}", problem_type=kind) for kind, count in kinds for i in range(count)]
    scored = [entry for s in samples for entry in hits(s.id, 2, n=8)]
    mixture = Mixture.model_validate({"stage2": {"size": 20, "shares": {"stem": 0.5, "ocr": 0.5}}})
    result = run(tmp_path / "out", samples, scored, mixture=mixture)
    assert {name: tally.kept for name, tally in result.problem_types.items()} == {"stem": 10, "ocr": 10, "coding": 0}
    assert result.reasons == {"kept": 20, "not_sampled": 20, "not_in_mixture": 5}
    assert "| 2 | stem | 10 | 10 | 30 |" in (tmp_path / "out" / "report.md").read_text()


def test_the_directory_is_finished_and_describes_its_files(tmp_path, data):
    run(tmp_path / "out", *data)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {*OUTPUTS, "manifest.json", "_SUCCESS"}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["outputs"]["curation.jsonl"]["rows"] == 25
    assert manifest["outputs"]["stage2"]["rows"] == manifest["counts"]["stage2_rows"] == 2


def test_the_report_states_thresholds_and_composition(tmp_path, data):
    run(tmp_path / "out", *data)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["settings"]["pass_threshold"]["bbox"] == 0.5
    assert summary["sources"]["made"]["samples"] == 25
    assert summary["overall"]["kept"] == 21
    assert sum(summary["overall"]["before"]) == 24  # one has no evidence
    assert summary["overall"]["after"][5] == 1  # 2 of 8
    # the mean of pass@1: 20 times 3/8, then 2/8, 1, 0, and 0 of the broken one
    assert summary["overall"]["pass_at_1"] == pytest.approx((20 * 3 / 8 + 2 / 8 + 1) / 24)
    assert summary["curve"]["kept"][0] == pytest.approx((20 * 3 / 8 + 2 / 8) / 21)
    assert summary["curve"]["kept"][7] == 1.0
    text = (tmp_path / "out" / "report.md").read_text()
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
        run(tmp_path / "out", [sample("easy")], hits("easy", 8, n=8))
    assert stage(tmp_path / "out", 1) == stage(tmp_path / "out", 2) == []
    assert "stage 1 is empty" in caplog.text
    assert "stage 2 is empty" in caplog.text
    assert "all_correct 1" in caplog.text


@pytest.mark.parametrize(
    ("settings", "scored", "message"),
    [
        (CurateSettings(k=8), hits("a", 2, n=8), "1 samples have fewer than 2k completions"),
        (CurateSettings(), hits("a", 2, n=3), "1 samples have fewer than 2k completions"),
        (CurateSettings(), hits("a", 2, n=8) + hits("b", 2, n=16), "different numbers of completions, from 8 to 16"),
        (CurateSettings(), hits("a", 2, n=8) * 2, "8 scored lines repeat a completion"),
    ],
)
def test_odd_evidence_is_warned_of(tmp_path, caplog, settings, scored, message):
    run(tmp_path / "out", [sample("a"), sample("b")], scored, settings)
    assert message in caplog.text


def test_enough_evidence_is_not_warned_of(tmp_path, caplog):
    run(tmp_path / "out", [sample("a"), sample("b", prompt_type="normal")], hits("a", 2) + hits("b", 3))
    assert caplog.text == ""


def test_an_unreadable_image_drops_its_sample_and_nothing_else(tmp_path):
    lost = sample("lost", image=ImageRef(path=str(tmp_path / "gone.png")))
    run(tmp_path / "out", [lost, sample("kept")], [*hits("lost", 2, n=8), *hits("kept", 2, n=8)])
    assert [s.id for s in stage(tmp_path / "out", 2)] == ["kept"]
    found = {row["sample_id"]: (row["decision"], row["reason"]) for row in rows(tmp_path / "out")}
    assert found == {"lost": ("drop", "unreadable_image"), "kept": ("keep", "kept")}


def test_the_effect_of_the_correction_is_counted(tmp_path):
    question = Question(problem="A. a B. b C. c D. d", answer=("A",), answer_type="multiple-choice")
    samples = [Sample(id=name, question=question) for name in ("guess", "lucky")]
    result = run(tmp_path / "out", samples, [*hits("guess", 4), *hits("lucky", 11)])
    effect = result.chance
    assert (effect.guessable, effect.kept_without, effect.kept_with) == (2, 1, 1)
    assert (effect.dropped, effect.admitted, effect.fixed_order) == (1, 1, 2)


@pytest.mark.parametrize(("n", "undecidable"), [(4, 1), (8, 1), (12, 1), (16, 0), (32, 0)])
def test_too_few_completions_to_tell_are_said(tmp_path, n, undecidable):
    """Yes or no: 7 of 8, 10 of 12 and 12 of 16 are better than luck; the band ends at 0.8, and the last is below."""
    question = Question(problem="Is it?", answer=("yes",), answer_type="boolean")
    result = run(tmp_path / "out", [Sample(id="a", question=question)], hits("a", n // 2, n=n))
    assert result.chance.undecidable == undecidable
    assert ("so few completions" in (tmp_path / "out" / "report.md").read_text()) == bool(undecidable)


def test_shuffled_options_expose_a_preferred_letter(tmp_path):
    question = Question(problem="A. a B. b C. c D. d", answer=("A",), answer_type="multiple-choice")
    samples = [Sample(id=name, question=question) for name in ("always-a", "knows-half")]
    scored = [score("always-a", k, float(k % 4 == 0), shuffled={"gold": "ABCD"[k % 4]}) for k in range(32)]
    scored += [score("knows-half", k, float(k % 8 < 4), shuffled={"gold": "ABCD"[k % 4]}) for k in range(32)]
    result = run(tmp_path / "out", samples, scored)
    got = {row["sample_id"]: row for row in rows(tmp_path / "out")}
    assert got["always-a"]["letters"] == {"A": [8, 8], "B": [0, 8], "C": [0, 8], "D": [0, 8]}
    assert got["always-a"]["letter_p"] < 1e-5
    assert got["always-a"]["reason"] == "guessing"
    assert got["knows-half"]["letter_p"] == pytest.approx(1.0)
    assert got["knows-half"]["decision"] == "keep"
    assert (result.chance.letter_dependent, result.chance.fixed_order) == (1, 0)
    assert "1 seem to depend on the letter" in (tmp_path / "out" / "report.md").read_text()


def test_small_counts_are_corrected_by_what_their_source_answers(tmp_path):
    """Three in four pictures show two things: who always says 2 knows nothing."""
    golds = {f"c{i}": "2" if i % 4 else "7" for i in range(80)}
    samples = [sample(name, problem_type="counting", answer=(gold,)) for name, gold in golds.items()]
    scored = [entry for name, gold in golds.items() for entry in hits(name, 12 if gold == "2" else 3)]
    run(tmp_path / "out", samples, scored, CurateSettings(band=(0.0, 0.9)))
    got = {row["sample_id"]: row for row in rows(tmp_path / "out")}
    assert got["c1"]["chance"] == pytest.approx(59 / 79)
    assert got["c0"]["chance"] == pytest.approx(19 / 79)
    assert {got[name]["reason"] for name in golds} == {"guessing"}
    run(tmp_path / "raw", samples, scored, CurateSettings(band=(0.0, 0.9), rule="paper"))
    assert {row["reason"] for row in rows(tmp_path / "raw")} == {"kept"}


def test_shards_have_a_size_and_a_total_in_their_names(tmp_path, data, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 1000)
    monkeypatch.setattr(shards, "_ROWS", 4)
    run(tmp_path / "out", *data)
    files = sorted((tmp_path / "out" / "stage1").iterdir())
    assert len(files) > 2
    assert [path.name for path in files] == [f"part-{i:05d}-of-{len(files):05d}.parquet" for i in range(len(files))]
    assert [s.id for s in stage(tmp_path / "out", 1)] == [f"fast{i}" for i in range(20)]
    assert all(pq.read_metadata(path).num_rows for path in files)


def test_the_output_opens_with_datasets_and_has_the_columns_of_the_original(tmp_path, data, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    run(tmp_path / "out", *data)
    opened = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "out" / "stage1" / "*.parquet"), split="train", cache_dir=str(tmp_path)
    )
    original = {"id", "images", "problem", "answer", "problem_type", "answer_type", "source", "prompt_type"}
    assert original <= set(opened.column_names)
    assert opened.num_rows == 20
    assert opened[0]["images"][0].size == (24, 24)
    assert opened[0]["answer"] == ["3"]


def test_the_card_names_both_stages(tmp_path, data):
    import yaml

    run(tmp_path / "out", *data)
    _, front, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    configs = {entry["config_name"]: entry["data_files"] for entry in yaml.safe_load(front)["configs"]}
    assert configs == {"stage1": "stage1/*.parquet", "stage2": "stage2/*.parquet"}
    for pattern in configs.values():
        assert list((tmp_path / "out").glob(pattern))
    assert "| made | 25 | 21 |" in text


def test_the_page_shows_samples_plots_and_nothing_foreign(tmp_path, data):
    samples, scored = data
    hostile = sample("<script>alert(1)</script>", problem="<image><b>bold</b>", source="<img src=x>")
    run(tmp_path / "out", [*samples, hostile], [*scored, *hits(hostile.id, 8, n=8)])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<img src=x>" not in page
    assert page.count("<svg") >= 7
    assert page.count('src="data:image/png;base64,') >= 5
    assert "http" not in page.split("</head>")[1]
    for word in ("all correct", "all wrong", "too many errors", "21 of 26 samples kept"):
        assert word in page


def test_an_interrupted_run_leaves_no_trace_when_it_is_repeated(tmp_path, data, monkeypatch):
    samples, scored = data
    with pytest.raises(RuntimeError):
        run(tmp_path / "out", (s if s.id != "easy" else (_ for _ in ()).throw(RuntimeError) for s in samples), scored)
    monkeypatch.setattr(shards, "_copied", lambda source, ids: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError):
        run(tmp_path / "out", samples, scored)
    monkeypatch.undo()
    run(tmp_path / "out", samples, scored)
    run(tmp_path / "whole", samples, scored)
    names = [sorted(path.name for path in (tmp_path / one).iterdir()) for one in ("out", "whole")]
    assert names[0] == names[1]
    assert (tmp_path / "out" / "curation.jsonl").read_bytes() == (tmp_path / "whole" / "curation.jsonl").read_bytes()


def test_samples_may_come_from_a_function_and_are_read_once(tmp_path, data):
    samples, scored = data
    calls = []
    settings = CurateSettings()
    with store.Directory(tmp_path / "out", Identity(command="curate", settings={}, seed=1)) as output:

        def read():
            calls.append(1)
            return iter(samples)

        result = curate(read, evidence(scored), output, settings, rejects=Rejects(None), seed=1)
    assert calls == [1]
    assert result.overall.samples == 25


def test_nothing_at_all_is_fine(tmp_path):
    result = run(tmp_path / "out", [], [])
    assert result.overall.samples == 0
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_large_counts_of_a_source_make_small_ones_less_likely(tmp_path):
    """40 of 440 answer 2; so do 39 of the 439 others of each."""
    golds = ["2"] * 40 + [str(100 + i) for i in range(400)]
    samples = [sample(f"c{i}", problem_type="counting", answer=(gold,)) for i, gold in enumerate(golds)]
    scored = [entry for i in range(40) for entry in hits(f"c{i}", 4)]
    run(tmp_path / "out", samples, scored)
    got = {row["sample_id"]: row for row in rows(tmp_path / "out")}
    assert got["c0"]["chance"] == pytest.approx(39 / 439)
    assert (got["c0"]["reason"], got["c100"]["chance"]) == ("kept", 0.0)


def test_an_empty_stage_is_explained_by_its_own_samples(tmp_path, caplog):
    samples = [sample("fast", prompt_type="normal"), sample("slow"), sample("slower")]
    run(tmp_path / "out", samples, [*hits("fast", 16), *hits("slow", 0), *hits("slower", 0)])
    assert "stage 1 is empty: none of its 1 samples was kept (all_correct 1)" in caplog.text
    assert "stage 2 is empty: none of its 2 samples was kept (all_wrong 2)" in caplog.text


def test_flags_of_a_preferred_letter_come_with_what_chance_gives(tmp_path):
    """40 samples are tested, and 5 % of 40 are 2; one that is always right cannot show a preference."""
    question = Question(problem="A. a B. b C. c D. d", answer=("A",), answer_type="multiple-choice")
    samples = [Sample(id=f"q{i}", question=question) for i in range(41)]
    scored = [
        score(f"q{i}", k, float(k % 4 == i % 4 or i == 40), shuffled={"gold": "ABCD"[k % 4]})
        for i in range(41)
        for k in range(16)
    ]
    effect = run(tmp_path / "out", samples, scored).chance
    assert (effect.letter_tested, effect.letter_dependent) == (40, 40)
    assert "chance alone gives about 2.0" in (tmp_path / "out" / "report.md").read_text()


def test_the_page_shows_commands_as_code(tmp_path):
    question = Question(problem="A. <b> B. b", answer=("A",), answer_type="multiple-choice")
    run(tmp_path / "out", [Sample(id="a", question=question)], hits("a", 2, n=8))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<code>ovrl rollout --shuffle-options</code>" in page
    assert "`" not in page


def test_kept_disks_lie_above_dropped_ones():
    from ovrl.curate.report import svg

    drawing = str(svg.places("t", {"drop": {(0.5, 0.8): 2}, "keep": {(0.5, 0.8): 9}}, x_label="x", y_label="y"))
    assert drawing.index("2 drop:") < drawing.index("9 keep:")
