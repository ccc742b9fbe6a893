from pathlib import Path

import pytest

from ovrl.train.journal import Journal


def write(path: Path) -> None:
    journal = Journal(path)
    journal.append("take", step=0, gids=[0, 2])
    journal.append("trained", step=0)
    journal.close()


def test_what_was_appended_is_read_back(tmp_path: Path):
    write(tmp_path / "journal.jsonl")
    again = Journal(tmp_path / "journal.jsonl")
    assert again.events == [{"event": "take", "step": 0, "gids": [0, 2]}, {"event": "trained", "step": 0}]
    assert again.taken(0) == [0, 2]
    assert again.taken(1) is None


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_tail_is_cut_and_the_journal_goes_on(tmp_path: Path, cut: int):
    path = tmp_path / "journal.jsonl"
    write(path)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(path)
    assert [event["event"] for event in again.events] == ["take"]
    again.append("trained", step=0)
    again.close()
    assert [event["event"] for event in Journal(path).events] == ["take", "trained"]


def test_a_changed_record_and_all_behind_it_is_not_believed(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    write(path)
    path.write_text(path.read_text().replace("[0, 2]", "[0, 3]"))
    assert Journal(path).events == []


def test_the_last_take_of_a_step_counts(tmp_path: Path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("take", step=3, gids=[1])
    journal.append("resume", step=3)
    journal.append("take", step=3, gids=[2])
    journal.close()
    assert Journal(tmp_path / "journal.jsonl").taken(3) == [2]
