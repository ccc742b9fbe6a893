"""What is on the disk, and what is made of it."""

import json
from pathlib import Path

import pytest

from ovrl.errors import OvrlError
from ovrl.records import Question, Sample, Score
from ovrl.train.books import Books
from ovrl.train.ledger import Ledger
from ovrl.train.order import PromptOrder
from ovrl.train.trajectory import Group, Trajectory

SAMPLES = [Sample(id=f"s{i}", question=Question()) for i in range(3)]


class Pupil(PromptOrder):
    """A sampler that remembers what it was asked and told."""

    def __init__(self) -> None:
        super().__init__(len(SAMPLES), 0)
        self.heard: list[tuple] = []

    def row(self, gid: int) -> int:
        self.heard.append(("row", gid))
        return super().row(gid)

    def observe(self, row, rewards, version) -> None:
        self.heard.append(("observe", row, tuple(rewards), version))

    def state_dict(self) -> dict:
        return {"heard": self.heard}

    def load_state_dict(self, state: dict) -> None:
        self.heard = [tuple(tuple(x) if isinstance(x, list) else x for x in entry) for entry in state["heard"]]


def open_books(run: Path, progress: dict | None = None) -> tuple[Books, Pupil]:
    pupil = Pupil()
    books = Books(run, Ledger(2, 1, lead=2), pupil, SAMPLES)
    books.resume(progress)
    return books, pupil


def group(books: Books, gid: int, rewards: tuple[float, ...], text: str = "reply", version: int = 0) -> Group:
    return Group(
        gid=gid,
        sample=SAMPLES[books.rows[gid]],
        trajectories=tuple(
            Trajectory(
                k=k, text=text, token_ids=(5, 6), logprobs=(-0.5, -0.25), versions=(version, version),
                finish_reason="stop", score=Score(reward=reward),
            )
            for k, reward in enumerate(rewards)
        ),
    )  # fmt: skip


def scored(books: Books) -> None:
    """Plan four groups and score three: 2 before 0, and 1 is rejected."""
    for _ in range(4):
        books.plan()
    books.complete(group(books, 2, (1.0, 0.0)), None)
    books.complete(group(books, 1, (1.0, 1.0)), "zero_variance")
    books.complete(group(books, 0, (0.0, 1.0)), None)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_file_holds_what_was_trained_and_what_was_rejected(tmp_path: Path):
    books, _ = open_books(tmp_path)
    scored(books)
    step = books.take([0, 2])
    assert [g.gid for g in step.taken] == [0, 2]
    assert [g.gid for g in step.rejected] == [1]
    found = lines(tmp_path / "trajectories" / "step-000000.jsonl")
    assert [(t["group_id"], t["k"], t["step"], t["rejected"]) for t in found] == [
        (0, 0, 0, None), (0, 1, 0, None), (1, 0, None, "zero_variance"), (1, 1, None, "zero_variance"),
        (2, 0, 0, None), (2, 1, 0, None),
    ]  # fmt: skip
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_was_scored_comes_back_equal_and_what_ran_is_to_run_again(tmp_path: Path):
    books, _ = open_books(tmp_path)
    scored(books)
    books.sync()
    again, _ = open_books(tmp_path)
    assert again.ledger.finished == {0: 0, 2: 0}
    assert again.ledger.running == {3: 0}
    step = again.take([0, 2])
    assert step.taken == [group(again, 0, (0.0, 1.0)), group(again, 2, (1.0, 0.0))]
    assert step.rejected == [group(again, 1, (1.0, 1.0))]


def test_a_group_counts_only_when_the_journal_has_it_and_then_its_last_lines(tmp_path: Path):
    books, _ = open_books(tmp_path)
    books.plan()
    books.sync()
    books.complete(group(books, 0, (0.0, 1.0), text="torn"), None)
    books._spool.sync()  # killed before the journal
    again, _ = open_books(tmp_path)
    assert again.ledger.running == {0: 0}
    again.complete(group(again, 0, (0.0, 1.0), text="whole"), None)
    again.sync()
    third, _ = open_books(tmp_path)
    third.plan()
    third.complete(group(third, 1, (0.0, 1.0)), None)
    step = third.take([0, 1])
    assert {t.text for t in step.taken[0].trajectories} == {"whole"}
    third.close()
    assert not (tmp_path / "spool").exists()


def test_a_step_that_was_taken_and_not_written_is_written_when_the_run_goes_on(tmp_path: Path):
    books, _ = open_books(tmp_path)
    scored(books)
    books._note("take", step=0, gids=[0, 2])
    books.sync()
    again, _ = open_books(tmp_path)
    (step,) = again.replays(0)
    assert step.taken == [group(again, 0, (0.0, 1.0)), group(again, 2, (1.0, 0.0))]
    assert (step.number, dict(step.reasons)) == (0, {"zero_variance": 1})
    assert list(again.replays(1)) == []
    assert len(lines(tmp_path / "trajectories" / "step-000000.jsonl")) == 6


def test_what_waits_when_a_run_stops_can_be_read(tmp_path: Path):
    books, _ = open_books(tmp_path)
    scored(books)
    books.close()
    found = lines(tmp_path / "trajectories" / "open.jsonl")
    assert {(t["group_id"], t["step"], t["rejected"]) for t in found} == {
        (0, None, None), (1, None, "zero_variance"), (2, None, None),
    }  # fmt: skip
    again, _ = open_books(tmp_path)
    assert not (tmp_path / "trajectories" / "open.jsonl").exists()
    assert len(again.take([0, 2]).taken) == 2


def test_the_sampler_hears_the_same_in_a_run_that_was_killed(tmp_path: Path):
    books, pupil = open_books(tmp_path)
    scored(books)
    books.take([0, 2])
    rows = [books.rows[gid] for gid in range(3)]
    told = [
        ("observe", rows[0], (0.0, 1.0), 0),
        ("observe", rows[1], (1.0, 1.0), 0),
        ("observe", rows[2], (1.0, 0.0), 0),
    ]
    assert pupil.heard == [("row", 0), ("row", 1), ("row", 2), ("row", 3), *told], "at the step, in order"
    progress = json.loads(json.dumps(books.progress()))
    books.trained(0)
    books.publish(2)
    books.plan()
    books.complete(group(books, 3, (1.0, 0.0)), None)
    books.complete(group(books, 4, (1.0, 0.0), version=1), None)
    books.take([3, 4])
    for kept in (None, progress):
        _, other = open_books(tmp_path, kept)
        assert other.heard == pupil.heard


def test_a_journal_that_ends_before_its_checkpoint_is_refused(tmp_path: Path):
    books, _ = open_books(tmp_path)
    scored(books)
    progress = books.progress()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(OvrlError, match="lost what a checkpoint builds on"):
        open_books(tmp_path, progress)
