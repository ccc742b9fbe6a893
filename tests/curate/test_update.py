import json

import pytest
from scored import evidence, hits

from builders import sample as build
from ovrl import store
from ovrl.curate import update
from ovrl.curate.run import curate
from ovrl.curate.settings import CurateSettings, PassThresholds
from ovrl.errors import UsageError
from ovrl.manifest import Identity
from ovrl.rejects import Rejects

SAMPLES = [build(name, problem_type="stem", prompt_type="thinking") for name in "abc"]


def identity(settings, scores, **more):
    return Identity(
        command="curate",
        settings=settings.result_fields() | more,
        inputs={"samples": {"sha256": "s", "rows": 3}} | ({"x": {"sha256": scores, "rows": 9}} if scores else {}),
        seed=1,
    )


def curated(path, known, who):
    with store.Directory(path, who) as output:
        settings = CurateSettings()
        curate(SAMPLES, known, output, settings, rejects=Rejects(None), seed=1)


def rows(path):
    return {r["sample_id"]: r for r in map(json.loads, (path / "curation.jsonl").read_text().splitlines())}


@pytest.fixture
def old(tmp_path):
    scored = [*hits("a", 0, errors=1), *hits("b", 4), *hits("c", 16)]
    curated(tmp_path / "out", evidence(scored), identity(CurateSettings(), "one"))
    return tmp_path / "out"


def updated(path, scored, digest):
    from scored import lines

    from ovrl.curate.evidence import Evidence

    earlier = update.load(path)
    assert earlier is not None
    who = identity(CurateSettings(), digest, earlier_scores=earlier.history(digest, "samples"))
    update.reopen(earlier, who)
    with store.Directory(path, who) as output:
        if not output.finished:
            known = Evidence(lines(scored), earlier.rows)
            curate(SAMPLES, known, output, CurateSettings(), rejects=Rejects(None), seed=1)
        return output


def test_newer_scores_change_their_samples_and_leave_the_others(old):
    before = rows(old)
    assert {name: row["reason"] for name, row in before.items()} == {"a": "all_wrong", "b": "kept", "c": "all_correct"}
    updated(old, [*hits("a", 3), *hits("b", 16)], "two")
    after = rows(old)
    assert {name: row["reason"] for name, row in after.items()} == {"a": "kept", "b": "all_correct", "c": "all_correct"}
    assert after["c"] == before["c"]
    assert (after["a"]["n"], after["a"]["errors"]) == (16, 0)
    manifest = json.loads((old / "manifest.json").read_text())
    assert manifest["settings"]["earlier_scores"] == ["one"]
    updated(old, hits("c", 5), "three")
    assert {row["reason"] for row in rows(old).values()} == {"kept", "all_correct"}
    assert json.loads((old / "manifest.json").read_text())["settings"]["earlier_scores"] == ["one", "two"]


def test_the_same_update_again_does_nothing(old):
    updated(old, hits("a", 3), "two")
    written = (old / "curation.jsonl").stat().st_mtime_ns
    assert updated(old, hits("a", 3), "two").finished
    assert (old / "curation.jsonl").stat().st_mtime_ns == written


@pytest.mark.parametrize("step", ["write_stage", "to_html", "finish"])
def test_an_update_that_is_stopped_is_repeated(old, tmp_path, monkeypatch, step):
    from ovrl.curate import run, shards

    def fail(*_args, **_named):
        raise RuntimeError

    place = {"write_stage": shards, "to_html": run, "finish": store.Directory}[step]
    monkeypatch.setattr(place, step, fail)
    with pytest.raises(RuntimeError):
        updated(old, hits("a", 3), "two")
    assert not (old / "_SUCCESS").exists()
    monkeypatch.undo()
    updated(old, hits("a", 3), "two")
    scored = [*hits("a", 3), *hits("b", 4), *hits("c", 16)]
    curated(tmp_path / "whole", evidence(scored), identity(CurateSettings(), "all"))
    assert rows(old) == rows(tmp_path / "whole")
    assert (old / "_SUCCESS").exists()


def test_what_cannot_be_updated_is_refused(old, tmp_path):
    assert update.load(tmp_path / "nothing") is None
    earlier = update.load(old)
    other = CurateSettings(pass_threshold=PassThresholds(bbox=0.9))
    with pytest.raises(UsageError, match="pass_threshold differs"):
        update.reopen(earlier, identity(other, "two"))
    with store.Directory(old, identity(CurateSettings(), "one")), pytest.raises(UsageError, match="in use"):
        update.reopen(earlier, identity(CurateSettings(), "two"))
    (old / "curation.jsonl").write_text('{"sample_id": "a", "n": 3}\n')
    with pytest.raises(UsageError, match="older ovrl"):
        update.load(old)
    (old / "curation.jsonl").unlink()
    with pytest.raises(UsageError, match="stopped before its end"):
        update.load(old)
    with store.Directory(tmp_path / "eval", Identity(command="eval", settings={}, seed=1)), pytest.raises(UsageError):
        update.load(tmp_path / "eval")
