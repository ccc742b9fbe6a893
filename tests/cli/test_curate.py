"""`ovrl curate` from outside: flags, files, refusals, updates, and what `train` has collected."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Cli, lines_of

from builders import line


def scores(path: Path, correct: dict[str, int], n: int = 8, **fields: Any) -> Path:
    records = [
        line(name, k, reward=float(k < right), status="ok", finish_reason="stop", **fields)
        for name, right in correct.items()
        for k in range(n)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def samples(path: Path, *names: str, **fields: Any) -> Path:
    question = {"problem": "What?", "answer": "3", "answer_type": "number", "problem_type": "stem", **fields}
    path.write_text("".join(json.dumps({"id": name, **question}) + "\n" for name in names))
    return path


def reasons(output: Path) -> dict[str, str]:
    return {row["sample_id"]: row["reason"] for row in lines_of(output / "curation.jsonl")}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    names = {"a": 0, "b": 2, "c": 4, "d": 8}
    return samples(tmp_path / "d.jsonl", *names), scores(tmp_path / "s.jsonl", names)


def test_each_flag_reaches_its_setting(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    base = ["curate", "-i", scored, "--samples", data, "--json", "-o"]
    for number, (flags, kept) in enumerate(
        [
            ([], {"b", "c"}),
            (["--band", "0:0.3"], {"b"}),
            (["--rule", "pass-count", "-s", "curate.pass_count=[3, 5]"], {"c"}),
            (["--rule", "pass-count+gap", "-s", "curate.pass_count=[2, 8]"], {"b", "c"}),
            (["--min-gap", "0.6"], set()),
            (["-k", "2", "--min-gap", "0.25"], {"c"}),
            (["--size", "1"], {"b", "c"}),
            (["--size", "1", "--by", "problem_type", "--weight", "gap"], {"b", "c"}),
        ]
    ):
        result = cli(*base, tmp_path / str(number), *flags)
        assert result.code == 0, result.err
        got = {name for name, reason in reasons(tmp_path / str(number)).items() if reason == "kept"}
        assert got <= kept
        assert len(got) == (1 if "--size" in flags else len(kept))
        assert json.loads(result.out)["kept"] == len(got)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rule", "best"], "curate.rule: unknown rule 'best'"),
        (["--band", "0.5"], "--band '0.5': give LOW:HIGH"),
        (["--band", "0.6:0.1"], "--band: curate.band: the lower bound must be below"),
        (["--band", "nan:1"], "--band: curate.band: the lower bound must be below"),
        (["--band", "0:nan"], "--band: curate.band: the lower bound must be below"),
        (["--size", "0"], "--size: curate.selection.size"),
        (["--by", "colour"], "'colour' is not one of"),
        (["--mixture", "ov16"], "--mixture ov16: neither a preset (ov15)"),
        (["--mixture", "ov15", "--by", "source"], "groups by problem_type already"),
        (["--update", "--overwrite"], "give one of them"),
        (["--update"], None),
    ],
)
def test_mistakes_are_named(cli: Cli, pair: tuple[Path, Path], tmp_path: Path, flags: list[str], message: str | None):
    data, scored = pair
    given = [] if flags == ["--update"] else ["-i", scored]
    result = cli("curate", *given, "--samples", data, "-o", tmp_path / "out", *flags)
    assert result.code == 2
    assert (message or "holds no curation to update; give scores with -i") in result.error
    assert not (tmp_path / "out" / "curation.jsonl").exists()


def test_bad_scores_are_rejected_and_the_rest_goes_on(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    with scored.open("a") as file:
        file.write(json.dumps(line("stranger", 0, reward=1.0, status="ok")) + "\n")
        file.write('{"k": 3, "reward": 1.0, "status": "ok"}\n')
        file.write('{"sample_id": "a", "k"')
    with data.open("a") as file:
        file.write('{"id": "b", "problem": "again", "answer": "1"}\n{"id": "e", "problem": "?", "answer": []}\n')
    result = cli("curate", "-i", scored, "--samples", data, "-o", tmp_path / "out")
    assert result.code == 3
    assert "5 of 9 records were bad" in result.error
    found = [(entry["line"], entry["id"], entry["field"]) for entry in lines_of(tmp_path / "out" / "rejects.jsonl")]
    assert found == [
        (34, None, "sample_id"),
        (35, None, None),
        (5, "b", "id"),
        (6, "e", "answer"),
        (None, "stranger", "sample_id"),
    ]
    assert reasons(tmp_path / "out") == {"a": "all_wrong", "b": "kept", "c": "kept", "d": "all_correct"}
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_changed_scores_are_refused_without_update(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    base = ["curate", "-i", scored, "--samples", data, "-o", tmp_path / "out"]
    assert cli(*base).code == 0
    scores(scored, {"a": 3, "b": 8})
    assert "the content of" in cli(*base).error
    assert reasons(tmp_path / "out")["a"] == "all_wrong"
    updated = cli(*base, "--update", "--json")
    assert updated.code == 0, updated.err
    assert reasons(tmp_path / "out") == {"a": "kept", "b": "all_correct", "c": "kept", "d": "all_correct"}
    assert "note" not in json.loads(updated.out)
    assert json.loads(cli(*base, "--update", "--json").out)["note"] == "already complete"


def test_an_update_without_scores_applies_other_rules(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    assert cli("curate", "-i", scored, "--samples", data, "-o", tmp_path / "out").code == 0
    scored.unlink()
    assert cli("curate", "--samples", data, "-o", tmp_path / "out", "--update", "--band", "0:0.3").code == 0
    assert reasons(tmp_path / "out")["c"] == "outside_band"
    assert reasons(tmp_path / "out")["b"] == "kept"


def test_what_train_collects_is_accepted(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    assert cli("curate", "-i", scored, "--samples", data, "-o", tmp_path / "out").code == 0
    run = tmp_path / "run"
    old = {"group_id": 0, "version_newest": 0, "components": {"accuracy": 0.0}, "token_ids": [1, 2]}
    new = {"group_id": 7, "version_newest": 3, "components": {"accuracy": 1.0}, "token_ids": [1, 2]}
    scores(run / "trajectories" / "part-0.jsonl", {"b": 0}, n=16, **old)
    scores(run / "trajectories" / "part-1.jsonl", {"b": 16}, n=16, **new)
    result = cli("curate", "-i", run, "--samples", data, "-o", tmp_path / "out", "--update")
    assert result.code == 0, result.err
    assert reasons(tmp_path / "out") == {"a": "all_wrong", "b": "all_correct", "c": "kept", "d": "all_correct"}


def test_the_mixture_is_part_of_what_the_output_is_made_from(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    mixture = tmp_path / "m.yaml"
    mixture.write_text("stage2: {quotas: {stem: 1}}\n")
    base = ["curate", "-i", scored, "--samples", data, "-o", tmp_path / "out", "--mixture", mixture]
    assert cli(*base).code == 0
    assert sorted(reasons(tmp_path / "out").values()) == ["all_correct", "all_wrong", "kept", "not_sampled"]
    mixture.write_text("stage2: {quotas: {stem: 2}}\n")
    assert "mixture.stage2.quotas.stem: 1 -> 2" in cli(*base).error


def test_shuffled_options_go_through_the_chain(cli: Cli, tmp_path: Path):
    """A model that always says A, asked with shuffled options: its answers show that it only guesses."""
    data = samples(
        tmp_path / "d.jsonl", "x", problem="Which?\nA. a\nB. b\nC. c\nD. d", answer="A", answer_type="multiple-choice"
    )
    rolled, scored = tmp_path / "c.jsonl", tmp_path / "s.jsonl"
    fake = ["rollout", data, "--engine", "fake", "--model", "A", "-n", 32, "-o"]
    assert cli(*fake, rolled, "--shuffle-options").code == 0
    assert cli("score", rolled, "-o", scored).code == 0
    assert cli("curate", "-i", scored, "--samples", data, "-o", tmp_path / "out").code == 0
    (row,) = lines_of(tmp_path / "out" / "curation.jsonl")
    assert row["letters"]["A"][0] == row["letters"]["A"][1] == row["correct"] > 0
    assert sum(right for letter, (right, _) in row["letters"].items() if letter != "A") == 0
    assert row["letter_p"] < 0.001
    assert cli(*fake, tmp_path / "plain.jsonl").code == 0
    assert cli("score", tmp_path / "plain.jsonl", "-o", tmp_path / "ps.jsonl").code == 0
    assert cli("curate", "-i", tmp_path / "ps.jsonl", "--samples", data, "-o", tmp_path / "plain").code == 0
    (row,) = lines_of(tmp_path / "plain" / "curation.jsonl")
    assert (row["pass_at_1"], row["letters"]) == (1.0, None)  # it looked as if it knew


def test_an_update_with_other_samples_loses_no_evidence(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    out = tmp_path / "out"
    assert cli("curate", "-i", scored, "--samples", data, "-o", out).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    held = samples(tmp_path / "held.jsonl", "b", "new")
    for flags in (["--samples", held], ["--samples", held, "-i", scored]):
        result = cli("curate", *flags, "-o", out, "--update")
        assert result.code == 2
        assert "3 of the 4 samples with scores" in result.error
        assert "(such as 'a')" in result.error
        assert "give the --samples that were curated there" in result.error
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    more = samples(tmp_path / "more.jsonl", "new", "d", "c", "b", "a")
    assert cli("curate", "--samples", more, "-o", out, "--update").code == 0
    assert reasons(out) == {"new": "no_evidence", "a": "all_wrong", "b": "kept", "c": "kept", "d": "all_correct"}


def test_an_update_does_not_take_other_samples_from_stdin(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    assert cli("curate", "-i", scored, "--samples", data, "-o", tmp_path / "out").code == 0
    result = cli("curate", "-i", scored, "--samples", "-", "-o", tmp_path / "out", "--update")
    assert (result.code, "give --samples FILE" in result.error) == (2, True)
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_scores_may_be_named_by_a_glob(cli: Cli, pair: tuple[Path, Path], tmp_path: Path):
    data, scored = pair
    scores(tmp_path / "sc-1.jsonl", {"a": 0, "b": 2})
    scores(tmp_path / "sc-2.jsonl", {"c": 4, "d": 8})
    (tmp_path / "sc-2.jsonl.rejects.jsonl").write_text('{"line": 1}\n')
    base = ["curate", "--samples", data, "-o"]
    result = cli(*base, tmp_path / "globbed", "-i", tmp_path / "sc-*.jsonl")
    assert result.code == 0, result.err
    assert cli(*base, tmp_path / "whole", "-i", scored).code == 0
    assert reasons(tmp_path / "globbed") == reasons(tmp_path / "whole")
    again = cli(*base, tmp_path / "globbed", "-i", tmp_path / "sc-*.jsonl", "--json")
    assert json.loads(again.out)["note"] == "already complete"
    assert "does not exist" in cli(*base, tmp_path / "none", "-i", tmp_path / "no*.jsonl").error
