import json
import logging
from pathlib import Path

import pytest

from ovrl.errors import BadRecordsError, RecordError, UsageError
from ovrl.rejects import Rejects, check_allowance


def test_each_reject_is_written_down_once_and_counted_by_field(tmp_path: Path):
    path = tmp_path / "new" / "bad.jsonl"
    bad = Rejects(path)
    for _ in range(2):  # a second pass over the input meets the same records
        bad.add(RecordError("answer", "is empty", "d.jsonl:3"), line=3, record_id="a")
    bad.add(RecordError("", "torn", "d.jsonl:4"), line=4)
    assert bad.count == 2
    assert bad.reasons == {"answer": 1, "line": 1}
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert entries == [
        {"line": 3, "id": "a", "field": "answer", "reason": "is empty", "where": "d.jsonl:3"},
        {"line": 4, "id": None, "field": None, "reason": "torn", "where": "d.jsonl:4"},
    ]


def test_what_turns_out_bad_later_still_names_its_line(tmp_path: Path):
    bad = Rejects(tmp_path / "bad.jsonl")
    bad.places["a"] = ("d.jsonl:3", 3)
    bad.add(RecordError("images", "damaged"), record_id="a")
    entry = json.loads((tmp_path / "bad.jsonl").read_text())
    assert (entry["line"], entry["where"], entry["id"]) == (3, "d.jsonl:3", "a")


def test_a_new_run_starts_a_new_list(tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    Rejects(path).add(RecordError("", "torn"), line=1)
    assert Rejects(path).count == 0
    assert not path.exists()


def test_a_thousand_rejects_do_not_flood_the_terminal(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    bad = Rejects(tmp_path / "bad.jsonl")
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            bad.add(RecordError("", "torn"), line=number, record_id=str(number))
    assert len(caplog.records) == 6
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 1000


@pytest.mark.parametrize("keep", [False, True])
def test_what_costs_many_records_counts_as_many_also_when_the_run_goes_on(tmp_path: Path, keep: bool):
    path = tmp_path / "bad.jsonl"
    for again in (False, True):
        bad = Rejects(path, keep=keep and again)
        for _ in range(2):
            bad.add(RecordError("", "damaged", records=256).at("d.parquet:257"), line=257)
            bad.add(RecordError("", "no parquet", "e.parquet", records=None))
        assert (bad.count, bad.lost_files) == (257, 1)
        assert bad.counts() == {"rejected": 257, "lost_files": 1}
        assert len(path.read_text().splitlines()) == 2


def test_no_share_allows_a_file_of_which_nobody_knows_how_many_records_it_held():
    with pytest.raises(BadRecordsError, match="1 files are lost with an unknown number of records"):
        check_allowance(1, 1000, "100%", "x", lost_files=1)
    check_allowance(1, 1000, "1", "x", lost_files=1)


@pytest.mark.parametrize(
    ("bad", "total", "allowance", "fine"),
    [
        (0, 0, "0", True),
        (1, 100, "0", False),
        (3, 100, "3", True),
        (4, 100, "3", False),
        (1, 100, "1%", True),
        (2, 100, "1%", False),
        (1, 50, "1.5%", False),
    ],
)
def test_the_allowance_is_a_count_or_a_share(bad: int, total: int, allowance: str, fine: bool):
    if fine:
        check_allowance(bad, total, allowance, "here")
    else:
        with pytest.raises(BadRecordsError, match=f"{bad} of {total}"):
            check_allowance(bad, total, allowance, "here")


@pytest.mark.parametrize("allowance", ["", "x", "%", "-1", "nan", "1 in 3"])
def test_an_allowance_that_means_nothing_is_refused(allowance: str):
    with pytest.raises(UsageError, match="--fail-on"):
        check_allowance(0, 1, allowance, "here")
