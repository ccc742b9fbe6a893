"""The production loop on a clock that jumps: overlap, ages and waste, on small workloads; W128 is a benchmark."""

import asyncio
import json
import statistics
from pathlib import Path

import pytest

from ovrl.errors import OvrlError
from ovrl.records import Question, Sample
from ovrl.rejects import Rejects
from ovrl.train import loop
from ovrl.train.books import Books
from ovrl.train.ledger import Ledger
from ovrl.train.metrics import Metrics
from ovrl.train.order import PromptOrder
from ovrl.train.settings import TrainSettings
from ovrl.train.virtual import InstantScorer, VirtualLoop, VirtualRollouts, VirtualTrainer, Workload

SMALL = Workload(groups=8, group_size=4, slots=16, mean=50, cap=400)
SAMPLES = [Sample(id=f"s{i}", question=Question()) for i in range(5)]


def run(folder: Path, workload: Workload, eta: int, steps: int = 30, reject=lambda group: None) -> list[dict]:
    """Return the metrics of a run."""
    folder.mkdir()
    values = {"steps": steps, "eta": eta, "save_every": 1000}
    options = TrainSettings.model_validate(
        values | {"batch": {"groups": workload.groups, "group_size": workload.group_size}}
    )
    ledger = Ledger(workload.groups, eta, steps=steps, refills=3, lead=min(1, eta) * workload.groups)
    books = Books(folder, ledger, PromptOrder(len(SAMPLES), 0), SAMPLES)
    books.resume(None)
    rollouts = VirtualRollouts(workload)
    parts = loop.Parts(
        settings=options, samples=SAMPLES, books=books, rollouts=rollouts, trainer=VirtualTrainer(workload, rollouts),
        scorer=InstantScorer(), reject=reject, rejects=Rejects(None), metrics=Metrics(folder / "metrics.jsonl", 0),
        version=0,
    )  # fmt: skip
    lines: list[dict] = []
    loop.train(parts, lines.append, VirtualLoop)
    return lines


def trajectories(folder: Path) -> list[dict]:
    return [json.loads(line) for path in folder.glob("trajectories/*.jsonl") for line in path.read_text().splitlines()]


def step_time(lines: list[dict]) -> float:
    kept = lines[len(lines) // 5 : -4]
    return statistics.fmean(line["time_step_s"] for line in kept)


def test_overlap_brings_what_the_limit_promises_at_a_small_age(tmp_path: Path):
    """Training and generation at full occupancy take as long: (sigma + R + omega) / (max(1, R) + omega)."""
    alone = run(tmp_path / "0", SMALL, 0)
    beside = run(tmp_path / "4", SMALL, 4, steps=60)
    assert step_time(alone) > (1.3 + 1 + 0.05) * SMALL.work, "there is a tail, or there is nothing to test"
    limit = step_time(alone) / ((1 + 0.05) * SMALL.work)
    assert step_time(alone) / step_time(beside) > 0.93 * limit
    assert statistics.fmean(line["age_mean"] for line in beside) < 2.5
    predicted = statistics.fmean(line["speedup_bound"] for line in beside[12:])
    assert predicted == pytest.approx(limit, rel=0.1), "a run says what it could have"


def test_a_run_that_waits_for_training_keeps_little_ahead(tmp_path: Path):
    slow = Workload(groups=8, group_size=4, slots=16, mean=50, cap=400, train_ratio=3.0)
    lines = run(tmp_path / "run", slow, 4, steps=40)
    assert step_time(lines) == pytest.approx((3 + 0.05) * slow.work, rel=0.03), "training never waits"
    assert statistics.fmean(line["age_mean"] for line in lines[10:]) < 1.5


@pytest.mark.parametrize("eta", [0, 1, 2, 4])
def test_no_token_is_older_than_eta_and_nothing_is_sampled_in_vain(tmp_path: Path, eta: int):
    """One completion in forty is ten times as long as a batch takes: it is waited for, and never dropped."""

    class Heavy(Workload):
        def length(self, gid: int, k: int) -> int:
            return 1500 if (4 * gid + k) % 40 == 7 else Workload.length(self, gid, k)

    folder = tmp_path / "run"
    run(folder, Heavy(groups=8, group_size=4, slots=16, mean=50, cap=4000), eta, steps=12)
    found = trajectories(folder)
    assert len({(t["group_id"], t["k"]) for t in found}) == len(found) == 12 * 8 * 4
    assert all(t["rejected"] is None for t in found)
    for t in found:
        assert t["versions"] == sorted(t["versions"]), "I6"
        assert t["completion_tokens"] == len(t["versions"])
        assert 0 <= t["step"] - t["versions"][0] <= eta
        assert t["versions"][-1] <= t["step"]
    assert max(t["step"] - t["version_oldest"] for t in found) == eta


def test_rejected_groups_are_replaced_and_written_down(tmp_path: Path):
    folder = tmp_path / "run"
    lines = run(folder, SMALL, 2, steps=10, reject=lambda group: "odd" if group.gid % 3 == 1 else None)
    assert [line["groups_used"] for line in lines] == [8] * 10
    found = {t["group_id"]: t for t in trajectories(folder)}
    assert all((t["rejected"] == "odd") == (gid % 3 == 1) for gid, t in found.items())
    assert sorted(found) == list(range(len(found)))
    assert sum(line["groups_rejected"].get("odd", 0) for line in lines) == sum(gid % 3 == 1 for gid in found)


def test_a_run_in_which_nothing_can_happen_any_more_says_so(tmp_path: Path):
    class Deaf(VirtualRollouts):
        def _pull(self) -> bool:
            return False

    original = VirtualRollouts._pull
    VirtualRollouts._pull = Deaf._pull
    try:
        with pytest.raises(OvrlError, match="everybody waits"):
            run(tmp_path / "run", SMALL, 1)
    finally:
        VirtualRollouts._pull = original


def test_time_jumps():
    async def wait() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(wait()) == pytest.approx(3600)
