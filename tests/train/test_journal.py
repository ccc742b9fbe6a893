from pathlib import Path

import pytest

from ovrl.train.journal import Journal

EVENTS = [{"event": "take", "step": 0, "gids": [0, 2]}, {"event": "trained", "step": 0}]


def write(path: Path) -> None:
    journal = Journal(path)
    for event in EVENTS:
        journal.append(event)
    journal.close()


def test_what_was_appended_is_read_back(tmp_path: Path):
    write(tmp_path / "journal.jsonl")
    again = Journal(tmp_path / "journal.jsonl")
    assert (again.events, again.count) == (EVENTS, 2)


def test_events_go_to_the_disk_together(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for event in EVENTS:
        journal.append(event)
    assert path.read_bytes() == b""
    journal.sync()
    assert path.read_bytes().count(b"\n") == 2
    assert Journal(path).events == EVENTS


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_tail_is_cut_and_the_journal_goes_on(tmp_path: Path, cut: int):
    path = tmp_path / "journal.jsonl"
    write(path)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(path)
    assert again.events == EVENTS[:1]
    again.append(EVENTS[1])
    again.close()
    assert Journal(path).events == EVENTS


@pytest.mark.parametrize("change", [(b"[0,2]", b"[0,3]"), (b"crc", b"krc"), (b"0,", b"")])
def test_a_changed_record_and_all_behind_it_is_not_believed(tmp_path: Path, change: tuple[bytes, bytes]):
    path = tmp_path / "journal.jsonl"
    write(path)
    path.write_bytes(path.read_bytes().replace(*change, 1))
    assert Journal(path).events == []
