"""Validation runs `ovrl eval` on snapshots, beside the run; here with an engine that needs no model."""

import asyncio
import json
from pathlib import Path

import pytest

from ovrl.errors import UsageError
from ovrl.train.settings import TrainSettings
from ovrl.train.validate import ValidateSettings, Validation


def samples(folder: Path) -> Path:
    path = folder / "held.jsonl"
    records = [{"id": f"s{i}", "problem": "2+1?", "answer": "3", "answer_type": "number"} for i in range(4)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


async def snapshot(path: Path) -> None:
    path.mkdir()
    (path / "weights").write_text("x")


@pytest.fixture
def eval_without_a_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OVRL_EVAL__ENGINE__ENGINE", "fake")


@pytest.mark.usefixtures("eval_without_a_model")
def test_versions_that_are_due_are_measured_one_after_the_other(tmp_path: Path):
    chosen = ValidateSettings(samples=samples(tmp_path), every=2, n=2)
    validation = Validation(tmp_path, chosen, TrainSettings(), stage=1, seed=5)

    async def run() -> None:
        for version in (1, 2, 3, 4):
            await validation.after(version, snapshot)
        await validation.finish(asyncio.Event())
        await validation.after(4, snapshot)  # done already, as after a resume

    asyncio.run(run())
    lines = [json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(line["items"] == 4 for line in lines)
    folder = tmp_path / "validation"
    assert sorted(p.name for p in folder.iterdir()) == ["eval.yaml", "step-000002", "step-000004"], (
        "no snapshot is left"
    )
    argv = json.loads((folder / "step-000002" / "manifest.json").read_text())["argv"]
    assert argv[argv.index("--mode") + 1] == "fast"
    assert argv[argv.index("--seed") + 1] == "5"


def test_a_stop_does_not_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    validation = Validation(
        tmp_path, ValidateSettings(samples=samples(tmp_path), every=1), TrainSettings(), stage=2, seed=1
    )
    started = asyncio.create_subprocess_exec
    monkeypatch.setattr(asyncio, "create_subprocess_exec", lambda *_, **options: started("sleep", "60", **options))

    async def run() -> None:
        stopping = asyncio.Event()
        await validation.after(1, snapshot)
        await asyncio.sleep(0.05)
        stopping.set()
        await asyncio.wait_for(validation.finish(stopping), 20)
        await asyncio.wait_for(validation.stop(), 20)

    asyncio.run(run())
    assert not (tmp_path / "validation.jsonl").exists()
    assert not list((tmp_path / "validation").glob(".step*"))


def test_samples_that_are_not_there_are_told_before_anything_is_done(tmp_path: Path):
    with pytest.raises(UsageError, match=r"validate.samples: .*none.jsonl does not exist"):
        ValidateSettings(samples=tmp_path / "none.jsonl").check()
    ValidateSettings().check()
