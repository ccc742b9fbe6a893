import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored import encode, hits, lines, score

from ovrl.curate import scores
from ovrl.curate.evidence import Evidence
from ovrl.errors import UsageError


def slow(data):
    """Read line by line only: what the quick way must agree with."""
    reader = scores._Reader()
    reader._add(reader._line_by_line(data, "s", 1))
    return reader.lines()


def content(found):
    names, letters = list(found.ids), [*found.letters, None]
    c = found.columns
    return [
        (names[code], k, group, None if np.isnan(accuracy) else accuracy, flags, letters[letter])
        for code, k, group, accuracy, flags, letter in zip(
            c.code, c.k, c.group, c.accuracy, c.flags, c.letter, strict=True
        )
    ]


def test_columns_by_hand():
    records = [
        score("a", 0, 1.0),
        score("b", 3, None),
        score("a", 1, 0.25, finish_reason="length"),
        score("b", 4, 0.0, finish_reason="length", status="no_answer", shuffled={"order": "BA", "gold": "B"}),
        {"sample_id": "c", "k": 0, "reward": 1, "status": "ok", "components": None},  # a rule without components
        {"sample_id": "c", "k": 1, "reward": 0.5, "status": "ok", "group_id": 7, "finish_reason": None},
    ]
    assert content(lines(records)) == [
        ("a", 0, -1, 1.0, 0, None),
        ("b", 3, -1, None, 0, None),
        ("a", 1, -1, 0.25, scores.TRUNCATED, None),
        ("b", 4, -1, 0.0, scores.TRUNCATED | scores.UNANSWERED, "B"),
        ("c", 0, -1, 1.0, 0, None),
        ("c", 1, 7, 0.5, 0, None),
    ]


numbers = st.none() | st.floats(-2, 2) | st.integers(-3, 3)
STATUS = st.sampled_from(["ok", "no_answer", "timeout", "ambiguous"])
records = st.fixed_dictionaries(
    {"sample_id": st.text(max_size=5), "k": st.integers(0, 2**40), "reward": numbers, "status": STATUS},
    optional={
        "finish_reason": st.none() | st.sampled_from(["stop", "length"]),
        "components": st.none() | st.dictionaries(st.sampled_from(["accuracy", "format"]), numbers),
        "shuffled": st.none() | st.fixed_dictionaries({"gold": st.none() | st.sampled_from("AB")}),
        "group_id": st.none() | st.integers(0, 9),
        "token_ids": st.lists(st.integers()),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(records, max_size=6))
def test_both_ways_of_reading_agree(given_records):
    data = encode(given_records)
    found, want = scores.read_stream(io.BytesIO(data), "s"), slow(data)
    assert content(found) == content(want)
    assert found.bad == [] == want.bad
    assert found.rows == len(given_records)


GOOD = '{"sample_id": "a", "k": 0, "reward": 1.0, "status": "ok"}'
BAD = [
    ('{"sample_id": "a", "k": 0, "rew', "", "not JSON"),
    ("[1, 2]", "", "a JSON object is expected"),
    ('{"k": 0, "reward": 1.0, "status": "ok"}', "sample_id", "missing"),
    ('{"sample_id": "a", "reward": 1.0, "status": "ok"}', "k", "missing"),
    ('{"sample_id": "a", "k": 0, "reward": 1.0}', "status", "missing"),
    ('{"sample_id": 7, "k": 0, "reward": 1.0, "status": "ok"}', "sample_id", "str is expected"),
    ('{"sample_id": "a", "k": 0.5, "reward": 1.0, "status": "ok"}', "k", "int is expected"),
    ('{"sample_id": "a", "k": true, "reward": 1.0, "status": "ok"}', "k", "int is expected"),
    ('{"sample_id": "a", "k": 0, "reward": "1", "status": "ok"}', "reward", "float is expected"),
    ('{"sample_id": "a", "k": 0, "reward": NaN, "status": "ok"}', "", "NaN"),
    ('{"sample_id": "a", "k": 0, "reward": 1e999, "status": "ok"}', "", "1e999"),
    ('{"sample_id": "a", "k": 0, "reward": 1.0, "status": "fine"}', "status", "unknown value 'fine'"),
    ('{"sample_id": "a", "k": 0, "reward": 1.0, "status": "ok", "finish_reason": "x"}', "finish_reason", "unknown"),
    ('{"sample_id": "a", "k": 0, "reward": 1.0, "status": "ok", "components": 3}', "components", "dict is expected"),
    ('{"sample_id": "a", "k": 99999999999999999999, "reward": 1.0, "status": "ok"}', "k", "int is expected"),
    ('{"sample_id": "\\ud800", "k": 0, "reward": 1.0, "status": "ok"}', "sample_id", "surrogate"),
]


@pytest.mark.parametrize(("line", "field", "reason"), BAD)
def test_a_bad_line_is_set_aside_with_its_place_and_the_rest_goes_on(line, field, reason):
    good = encode(hits("s", 1, n=3))
    for blank in (b"", b"\n"):
        found = scores.read_stream(io.BytesIO(good + blank + line.encode() + b"\n" + good), "s.jsonl")
        (bad,) = found.bad
        error, number, _ = bad
        place = 4 + len(blank)
        assert (error.field, number, error.where) == (field, place, f"s.jsonl:{place}")
        assert reason in str(error)
        assert len(content(found)) == 6
        assert found.rows == 7


def test_two_objects_on_a_line_are_no_line():
    found = scores.read_stream(io.BytesIO(f"{GOOD}{GOOD}\n{GOOD}\n".encode()), "s")
    assert [number for _, number, _ in found.bad] == [1]
    assert len(content(found)) == 1


def test_an_object_over_several_lines_is_no_line():
    found = scores.read_stream(io.BytesIO(GOOD.replace(", ", ",\n").encode() + b"\n"), "s")
    assert [number for _, number, _ in found.bad] == [1, 2, 3, 4]
    assert content(found) == []


def test_lines_across_blocks_and_longer_than_a_block(monkeypatch):
    monkeypatch.setattr(scores, "_BLOCK", 700)
    data = encode([*hits("a", 3, n=20), score("long", 0, 1.0, completion="y" * 5000), *hits("b", 2, n=9)])
    torn = data + b'{"sample_id": "c'
    found = scores.read_stream(io.BytesIO(torn), "s")
    assert content(found) == content(slow(data))
    assert [number for _, number, _ in found.bad] == [31]


@pytest.mark.parametrize(
    "fields",
    [
        b'"sample_id": "b\xff"',
        b'"sample_id": "b\xff\xf0\x9f\x98\x80"',
        b'"sample_id": "b", "shuffled": {"gold": "\xff"}',
    ],
)
def test_an_id_with_bytes_that_are_no_utf_8_is_one_bad_line(fields: bytes):
    data = encode(hits("a", 1, n=2)) + b'{%s, "k": 0, "reward": 1.0, "status": "ok"}\n' % fields
    found = scores.read_stream(io.BytesIO(data), "s")
    assert [row[0] for row in content(found)] == ["a", "a"]
    ((error, line, _),) = found.bad
    assert line == 3
    assert "bytes that are not UTF-8" in str(error)


def test_bytes_that_are_no_utf_8_do_no_harm_where_curation_does_not_read():
    good = b'{"sample_id": "b", "k": 0, "reward": 1.0, "status": "ok", "completion": "\xff"}\n'
    for other in (b"", b"torn\n"):  # which has the lines of its block read one by one
        assert [row[0] for row in content(scores.read_stream(io.BytesIO(good + other), "s"))] == ["b"]


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    found = scores.read_stream(io.BytesIO(b"\xef\xbb\xbf" + encode(hits("a", 1, n=2))), "s")
    assert ([row[0] for row in content(found)], found.bad) == (["a", "a"], [])


def test_the_digest_is_that_of_the_bytes(tmp_path):
    import hashlib

    path = tmp_path / "s.jsonl"
    path.write_bytes(encode(hits("a", 1)))
    assert scores.read_files([path]).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_meaning_does_not_depend_on_order_or_times():
    given_records = [*hits("a", 3), *hits("b", 2, shuffled={"gold": "B"}), *hits("c", 1, shuffled={"gold": "A"})]
    other = [record | {"elapsed_ms": 9.0} for record in given_records[::-1]]
    assert scores.meaning(lines(given_records)) == scores.meaning(lines(other))
    assert scores.meaning(lines(given_records[1:])) != scores.meaning(lines(given_records))
    other[0]["components"] = {"accuracy": 1.0}
    assert scores.meaning(lines(other)) != scores.meaning(lines(given_records))


def test_where_scores_are_found(tmp_path):
    for name in ("a/scores.jsonl", "b/trajectories/0.jsonl", "b/trajectories/1.jsonl", "c/x.jsonl", "c/rejects.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "d").mkdir()
    found = {n: [p.name for p in scores.score_files(str(tmp_path / n))] for n in ("a", "b", "c", "c/x.jsonl")}
    assert found == {
        "a": ["scores.jsonl"],
        "b": ["0.jsonl", "1.jsonl"],
        "c": ["x.jsonl"],
        "c/x.jsonl": ["x.jsonl"],
    }
    for missing in ("d", "e"):
        with pytest.raises(UsageError):
            scores.score_files(str(tmp_path / missing))


def test_counts_do_not_depend_on_the_order_of_the_lines():
    given_records = [*hits("a", 3), *hits("b", 2, errors=3), score("a", 0, 0.0), score("a", 1, 0.5)]
    want = Evidence(lines(given_records))
    for order in (given_records[::-1], sorted(given_records, key=json.dumps)):
        got = Evidence(lines(order))
        assert [got.of(name, 1.0) for name in "ab"] == [want.of(name, 1.0) for name in "ab"]
        assert got.duplicates == want.duplicates == 2


def test_of_repeated_lines_the_lowest_score_counts():
    known = Evidence(lines([*hits("a", 3, n=4), score("a", 0, 0.0), score("a", 1, None)]))
    assert known.duplicates == 2
    assert known.of("a", 1.0)[:3] == (4, 4, 2)  # an error says less than a score


def test_of_a_training_run_the_newest_groups_count():
    def group(number, correct, n=8):
        return [record | {"group_id": number} for record in hits("a", correct, n=n)]

    known = Evidence(lines([*group(5, 8), *group(1, 0), *group(9, 4), *group(3, 0)]))
    assert known.of("a", 1.0)[:3] == (16, 16, 12)  # groups 9 and 5
    known = Evidence(lines([*group(1, 1), *group(2, 2, n=20)]))
    assert known.of("a", 1.0)[:3] == (20, 20, 2)


def test_what_was_known_earlier_counts_where_nothing_is_newer():
    row = {
        "total": 9,
        "n": 8,
        "correct": 2,
        "mean_reward": 0.25,
        "std_reward": 0.4,
        "truncated": 1,
        "unanswered": 0,
        "errors": 1,
        "letters": {"A": [1, 4]},
    }
    known = Evidence(lines(hits("a", 3)), {"a": row, "b": row})
    assert known.of("a", 1.0)[:3] == (16, 16, 3)
    assert known.of("b", 1.0) == (9, 8, 2, 0.25, 0.4, 1, 0, 1)
    assert known.letters_of("b", 1.0) == {"A": (1, 4)}
    assert known.of("c", 1.0).total == 0


def test_letters_are_counted():
    shown = [score("a", k, float(k % 4 == 0), shuffled={"gold": "ABCD"[k % 4]}) for k in range(8)]
    known = Evidence(lines([*shown, *hits("b", 2)]))
    assert known.letters_of("a", 1.0) == {"A": (2, 2), "B": (0, 2), "C": (0, 2), "D": (0, 2)}
    assert known.letters_of("b", 1.0) == {}
