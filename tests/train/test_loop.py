"""The whole loop on a tiny model: what it writes, that it repeats itself, and that a stop costs nothing."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from ovrl.errors import OvrlError, UsageError
from ovrl.records import ImageRef
from ovrl.rejects import Rejects
from ovrl.rollout import transformers_engine
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.train import checkpoint
from ovrl.train.books import Books
from ovrl.train.engine_thread import EngineThread
from ovrl.train.launch import launch
from ovrl.train.learner_thread import LearnerThread
from ovrl.train.plan import Draw
from ovrl.train.recipe import Recipe

WANTED = {
    *("step", "policy_version", "reward_mean", "accuracy_mean", "reward_std", "groups_used", "groups_rejected"),
    *("age_max", "age_mean", "completion_tokens", "tokens_trained", "truncated_rate", "time_step_s"),
    *("time_generate_s", "time_wait_s", "time_train_s", "time_publish_s", "async_efficiency", "clip_fraction"),
    *("behaviour_kl", "behaviour_masked", "entropy", "grad_norm", "lr"),
}


MEASURED = {"async_efficiency", "speedup", "speedup_bound", "straggler_factor", "train_ratio", "publish_ratio"}


def digest(run: Path) -> str:
    weights = load_file(run / "final" / "model.safetensors")
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()


def lines(run: Path, pattern: str) -> list[dict]:
    return [json.loads(line) for path in sorted(run.glob(pattern)) for line in path.read_text().splitlines()]


def without_times(records: list[dict]) -> list[dict]:
    return [{k: v for k, v in r.items() if not k.startswith("time_") and k not in MEASURED} for r in records]


@pytest.fixture(scope="module")
def go(model, samples):
    def run(path: Path, settings, on_step=lambda line: None):
        path.mkdir(exist_ok=True)
        return launch(samples, model, path, settings, rejects=Rejects(None), seed=11, on_step=on_step)

    return run


@pytest.fixture
def whole(tmp_path, go, tiny_settings):
    """An uninterrupted run."""
    run = tmp_path / "whole"
    counts = go(run, tiny_settings())
    return run, counts


def test_a_run_writes_what_the_contract_names(whole):
    run, counts = whole
    metrics = lines(run, "metrics.jsonl")
    assert [line["step"] for line in metrics] == [0, 1, 2, 3]
    assert all(set(line) >= WANTED for line in metrics)
    assert all(line["age_max"] == 0 for line in metrics)
    trajectories = lines(run, "trajectories/*.jsonl")
    keys = [(line["group_id"], line["k"]) for line in trajectories]
    assert len(keys) == len(set(keys)) == 4 * counts["groups"]
    assert {line["group_id"] for line in trajectories} == set(range(counts["groups"]))
    assert all((line["step"] is None) != (line["rejected"] is None) for line in trajectories)
    for line in metrics:
        trained = {t["group_id"] for t in trajectories if t["step"] == line["step"]}
        assert len(trained) == line["groups_used"]
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step-000002", "step-000004"]
    for folder in (run / "final", run / "checkpoints" / "step-000002"):
        AutoModelForImageTextToText.from_pretrained(folder)
        AutoProcessor.from_pretrained(folder)


def test_two_runs_with_one_seed_agree_bit_for_bit(whole, tmp_path, go, tiny_settings):
    run, _ = whole
    again = tmp_path / "again"
    go(again, tiny_settings())
    assert digest(again) == digest(run)
    assert without_times(lines(again, "metrics.jsonl")) == without_times(lines(run, "metrics.jsonl"))
    assert lines(again, "trajectories/*.jsonl") == lines(run, "trajectories/*.jsonl")


class Stopped(BaseException):
    pass


PLACES = {
    "group": (Books, "complete"),
    "take": (Books, "take"),
    "update": (LearnerThread, "_step"),
    "publish": (Books, "publish"),
    "checkpoint": (checkpoint, "save"),
}


@pytest.mark.parametrize("place", [*PLACES, "after step 3"])
def test_a_stop_anywhere_and_the_same_command_end_where_an_uninterrupted_run_ends(
    place, whole, tmp_path, go, tiny_settings, monkeypatch
):
    run, counts = whole
    broken = tmp_path / "broken"
    calls = 0

    def once(original):
        def stop(*arguments, **named):
            nonlocal calls
            calls += 1
            result = original(*arguments, **named)
            if calls == (1 if place == "checkpoint" else 4):
                raise Stopped
            return result

        return stop

    def on_step(line):
        if place == "after step 3" and line["step"] == 2:
            raise Stopped

    with monkeypatch.context() as patch:
        if place in PLACES:
            owner, name = PLACES[place]
            patch.setattr(owner, name, once(getattr(owner, name)))
        with pytest.raises(Stopped):
            go(broken, tiny_settings(), on_step)
    resumed = go(broken, tiny_settings())
    assert resumed == counts
    assert digest(broken) == digest(run)
    assert without_times(lines(broken, "metrics.jsonl")) == without_times(lines(run, "metrics.jsonl"))
    assert lines(broken, "trajectories/*.jsonl") == lines(run, "trajectories/*.jsonl")
    assert not (broken / "spool").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"learner": {"device": "cpu", "lora_rank": 4}},
        {"objective": {"kl": {"coefficient": 0.1}}},
        {"schedules": {"objective.kl.coefficient": {"points": [[0, 0.0], [3, 0.1]]}}},
    ],
    ids=["adapter", "reference", "scheduled reference"],
)
def test_what_a_run_keeps_beside_its_weights_is_there_again_after_a_stop(changes, tmp_path, go, tiny_settings):
    settings = tiny_settings(optimizer={"lr": 1e-2}, save_every=1, **changes)
    go(tmp_path / "whole", settings)

    def on_step(line):
        if line["step"] == 1:
            raise Stopped

    with pytest.raises(Stopped):
        go(tmp_path / "broken", settings, on_step)
    go(tmp_path / "broken", settings)
    metrics = lines(tmp_path / "whole", "metrics.jsonl")
    assert without_times(lines(tmp_path / "broken", "metrics.jsonl")) == without_times(metrics)
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")
    assert all(line["behaviour_gap_max"] < 1e-4 for line in metrics)  # the engine has the weights that are trained
    if "learner" not in changes:
        assert metrics[0].get("kl_loss", 0.0) < 1e-6 < metrics[3]["kl_loss"]


def test_the_settings_of_a_method_are_written_down(tmp_path, go, tiny_settings):
    go(tmp_path / "run", tiny_settings(steps=1, recipe="gspo"))
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["objective"]["level"] == "sequence"


def test_a_method_that_plans_another_number_of_completions_is_refused(tmp_path, go, tiny_settings, monkeypatch):
    monkeypatch.setattr(Recipe, "plan", lambda self, sample, size: (Draw(size), Draw(1)))
    with pytest.raises(UsageError, match=r"plans 5 completions of a prompt, and train\.batch\.group_size is 4"):
        go(tmp_path / "run", tiny_settings())


def test_groups_that_were_written_down_are_not_sampled_again(whole, tmp_path, go, tiny_settings, monkeypatch):
    run, _ = whole
    broken = tmp_path / "broken"

    def stop(self, gids):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Books, "take", stop)
        with pytest.raises(Stopped):
            go(broken, tiny_settings())
    waiting = lines(broken, "trajectories/*.jsonl")
    assert {(line["step"], line["rejected"]) for line in waiting} <= {(None, None), (None, "zero_variance")}
    assert {line["group_id"] for line in waiting} >= {0, 1}
    asked: list[int] = []
    original = EngineThread._asked

    def note(self, gid, row):
        asked.append(gid)
        return original(self, gid, row)

    monkeypatch.setattr(EngineThread, "_asked", note)
    go(broken, tiny_settings())
    assert {line["group_id"] for line in waiting}.isdisjoint(asked)
    assert digest(broken) == digest(run)


def test_at_eta_4_training_and_sampling_overlap_and_no_token_is_older(tmp_path, go, tiny_settings):
    run = tmp_path / "run"
    counts = go(run, tiny_settings(eta=4, steps=8))
    metrics, trajectories = lines(run, "metrics.jsonl"), lines(run, "trajectories/*.jsonl")
    assert [line["step"] for line in metrics] == list(range(8))
    assert max(line["age_max"] for line in metrics) in range(1, 5)
    assert all(
        0 <= t["step"] - version <= 4 for t in trajectories if t["step"] is not None for version in t["versions"]
    )
    keys = [(line["group_id"], line["k"]) for line in trajectories]
    assert len(keys) == len(set(keys)) == 4 * counts["groups"], "everything that was sampled has a fate"
    assert all((line["step"] is None) != (line["rejected"] is None) for line in trajectories)


def test_an_engine_that_fails_ends_the_run_with_its_state_saved(tmp_path, go, tiny_settings, monkeypatch):
    run = tmp_path / "run"
    original = TransformersEngine.generate

    def dying(self, requests):
        for count, generation in enumerate(original(self, requests)):
            if count == 20:
                raise OvrlError("the engine died")
            yield generation

    with monkeypatch.context() as patch:
        patch.setattr(TransformersEngine, "generate", dying)
        with pytest.raises(OvrlError, match="the engine died"):
            go(run, tiny_settings())
    saved = sorted(path.name for path in (run / "checkpoints").iterdir())
    trained = [line["step"] for line in lines(run, "metrics.jsonl")]
    assert saved[-1] == f"step-{len(trained):06d}"
    go(run, tiny_settings())
    assert [line["step"] for line in lines(run, "metrics.jsonl")] == [0, 1, 2, 3]


def test_an_error_in_the_recipe_ends_the_run(tmp_path, go, tiny_settings, monkeypatch):
    def broken(self, group):
        raise ZeroDivisionError("in a recipe")

    monkeypatch.setattr(Recipe, "reject", broken)
    with pytest.raises(ZeroDivisionError, match="in a recipe"):
        go(tmp_path / "run", tiny_settings())


def test_a_run_without_anything_to_learn_ends_with_a_clear_word(tmp_path, go, tiny_settings):
    settings = tiny_settings(steps=40, score={"mode": "strict", "workers": 1}, sampling={"max_new_tokens": 1},
                             batch={"groups": 1, "group_size": 2, "refills": 0})  # fmt: skip
    with pytest.raises(OvrlError, match=r"no group of the last 20 steps had anything to teach .*zero_variance"):
        go(tmp_path / "run", settings)


def test_samples_that_cannot_be_asked_are_rejects_and_a_step_without_groups_is_no_crash(
    tmp_path, model, samples, tiny_settings
):
    torn = [replace(sample, images=(ImageRef(data=b"no image"),)) for sample in samples[:2]]
    rejects = Rejects(tmp_path / "rejects.jsonl")
    settings = tiny_settings(steps=1, batch={"groups": 2, "group_size": 2, "refills": 0})
    run = tmp_path / "run"
    run.mkdir()
    counts = launch(torn, model, run, settings, rejects=rejects, seed=1, on_step=lambda line: None)
    assert counts["groups_rejected"] == {"bad_prompt": 2}
    assert {json.loads(line)["id"] for line in (tmp_path / "rejects.jsonl").read_text().splitlines()} == {
        sample.id for sample in torn
    }
    (line,) = lines(run, "metrics.jsonl")
    assert (line["groups_used"], line["reward_mean"]) == (0, None)


def test_a_group_that_the_engine_refuses_is_rejected_and_the_others_train(
    tmp_path, model, samples, tiny_settings, monkeypatch
):
    monkeypatch.setattr(transformers_engine, "objection", lambda asked: "too odd" if asked.id == "1/0" else None)
    rejects = Rejects(tmp_path / "rejects.jsonl")
    settings = tiny_settings(steps=1)
    run = tmp_path / "run"
    run.mkdir()
    counts = launch(samples, model, run, settings, rejects=rejects, seed=1, on_step=lambda line: None)
    assert counts["groups_rejected"]["bad_prompt"] == 1
    assert "1" not in {str(line["group_id"]) for line in lines(run, "trajectories/*")}
    (reject,) = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert (reject["field"], reject["reason"]) == ("problem", "too odd")
