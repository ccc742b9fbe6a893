import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from builders import picture, sample
from ovrl.curate.check import MEANINGS, Finding, Findings, RecordFindings, check, gather
from ovrl.errors import UsageError
from ovrl.records import ImageRef, Question, Sample
from ovrl.samples import read_samples


def bomb() -> bytes:
    """Return a whole PNG of a megabyte or less that holds 40,000 x 40,000 black pixels."""
    header = (40_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(40_000 * 5_001), 9)), (b"IEND", b""))
    signed = [(len(data), name + data) for name, data in chunks]
    parts = [size.to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big") for size, body in signed]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def run(*samples: Sample, scorer: Any = None, against: list[Sample] | None = None) -> list[Finding]:
    found: list[Finding] = []
    held_out = gather(against, RecordFindings(Findings(found.append), "uncompared")) if against is not None else None
    count = check(samples, Findings(found.append), {}, scorer=scorer, held_out=held_out)
    assert count == len(samples)
    return found


def kinds(found: list[Finding]) -> list[tuple[str | None, str]]:
    return [(finding.id, finding.kind) for finding in found]


def drawn(name: str, color: str = "red", **fields: Any) -> Sample:
    fields = {"answer": (name,)} | fields
    return sample(name, images=(ImageRef(data=picture(color=color)),), **fields)


def test_a_good_set_has_no_finding():
    assert run(drawn("a"), drawn("b", "blue"), sample("c", problem="What?", images=())) == []


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (ImageRef(data=picture()[:60]), "image 1: embedded image is damaged"),
        (ImageRef(data=bomb()), "image 1: embedded image"),
        (ImageRef(data=b"no image"), "is not an image that can be opened"),
        (ImageRef(path="/nowhere/a.png"), "cannot read /nowhere/a.png"),
        (ImageRef(data=picture((1000, 4))), "1000 x 4 is longer than 200 to 1"),
        (ImageRef(data=picture((40_000, 30))), "40000 x 30 is longer than 200 to 1"),  # and not what it is shrunk to
    ],
)
def test_images_that_training_would_stumble_over(image: ImageRef, reason: str):
    bad = sample("bad", images=(image,))
    (finding, *_) = run(bad, drawn("good"))
    assert (finding.id, finding.kind) == ("bad", "image")
    assert reason in finding.reason


def test_marks_are_counted_against_images():
    two = sample("two", problem="<image> and <image>")
    none = sample("none", problem="What?")
    found = run(two, none)
    assert kinds(found) == [("two", "marks"), ("none", "marks")]
    assert found[0].reason == "the problem has 2 <image> marks, and there are 1 images"


def test_an_unknown_answer_type_is_named():
    (finding,) = run(drawn("a", answer_type="numbr"))
    assert finding.kind == "answer-type"
    assert "'numbr'; known: multiple-choice" in finding.reason


def test_each_gold_must_be_right_by_its_own_rule():
    asked: list[tuple[tuple[str, ...], str]] = []

    def scorer(question: Question, gold: str) -> tuple[float | None, str]:
        asked.append((question.answer, gold))
        outcomes = {"0": (0.0, "parse_error"), "?": (None, "invalid_gold"), "code": (None, "unsupported")}
        return outcomes.get(gold, (1.0, "ok"))

    found: list[Finding] = []
    findings = Findings(found.append)
    samples = [
        sample("a", answer=("3", "0")),
        sample("b", answer=("?",), images=(), problem="?"),
        drawn("code", "blue"),
    ]
    check(samples, findings, {}, scorer=scorer, held_out=None)
    assert asked == [(("3",), "3"), (("0",), "0"), (("?",), "?"), (("code",), "code")]  # none may hide behind another
    assert kinds(found) == [("a", "gold"), ("b", "gold")]
    assert found[0].reason == '"0" scores 0 against itself by the rule of number (parse_error)'
    assert "cannot be scored" in found[1].reason
    assert findings.unchecked == 1


def test_a_duplicate_names_the_first_and_says_when_the_answers_differ():
    found = run(drawn("a"), drawn("b", answer=("a",)), drawn("c"), drawn("d", problem="<image>Else?"))
    assert [(one.id, one.kind, one.other) for one in found] == [("b", "duplicate", "a"), ("c", "duplicate", "a")]
    assert [one.reason for one in found] == ["repeats a", "repeats a, and gives another answer"]


def test_leaks_are_found_and_told_apart():
    eval_set = [drawn("e", answer=("3",)), sample("broken", images=(ImageRef(data=b"x"),))]
    leak = drawn("a", problem="<image> how MANY", answer=("9",))
    shared = drawn("b", problem="<image>What color?")
    clean = drawn("c", "blue")
    found = run(leak, shared, clean, against=eval_set)
    assert [(one.id, one.kind, one.other) for one in found] == [
        ("broken", "uncompared", None),
        ("a", "leak", "e"),
        ("b", "shared-image", "e"),
    ]


def test_evaluation_samples_without_their_images_are_compared_by_what_they_say():
    lost = sample("e", problem="<image>How many cats?", answer=("3",), images=(ImageRef(path="/nowhere.png"),))
    same = drawn("a", problem="<image> how MANY cats", answer=("3",))
    other = drawn("b", "blue", problem="<image> how MANY cats", answer=("4",))
    found = run(same, other, against=[lost])
    assert [(one.id, one.kind, one.other) for one in found] == [("e", "uncompared", None), ("a", "text-leak", "e")]
    assert "cannot read /nowhere.png" in found[0].reason


def test_an_evaluation_set_without_samples_is_refused():
    with pytest.raises(UsageError, match="nothing can be compared"):
        run(drawn("a"), against=[])


@pytest.mark.parametrize("problem", ["", " \n", "<image> "])
def test_a_problem_that_says_nothing_is_a_finding(problem: str):
    images = () if "<image>" not in problem else None
    assert kinds(run(sample("a", problem=problem, images=images))) == [("a", "problem")]


def test_records_that_cannot_be_read_are_findings_too(tmp_path: Path):
    lines = [
        {"id": "a", "problem": "?", "answer": "3"},
        {"id": "b", "problem": "?", "answer": []},
        {"id": "a", "problem": "What?", "answer": "4"},
        {"problem": "Which?", "answer": "4"},
        {"problem": "Which?", "answer": "4"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "d.jsonl").write_text(text + '{"id": "torn", ')
    found: list[Finding] = []
    findings = Findings(found.append)
    bad = RecordFindings(findings)
    count = check(read_samples(str(tmp_path / "d.jsonl"), bad), findings, bad.places, scorer=None, held_out=None)
    assert (count, bad.count, findings.bad, findings.counts) == (2, 4, 4, {"record": 4})
    assert [(one.id, (one.where or "").rpartition(":")[2]) for one in found] == [
        *(("b", "2"), ("a", "3"), (None, "5"), (None, "6")),
    ]
    assert "the list is empty" in found[0].reason
    assert "'a' is used twice" in found[1].reason
    assert "says word for word what an earlier one says" in found[2].reason
    assert "the line is torn" in found[3].reason


def test_a_record_with_several_findings_is_one_bad_record():
    found: list[Finding] = []
    findings = Findings(found.append)
    check([sample("a", problem="?", answer_type="x"), drawn("b")], findings, {}, scorer=None, held_out=None)
    assert (len(found), findings.bad) == (2, 1)


def test_every_kind_has_a_meaning():
    from typing import get_args

    from ovrl.curate.check import Kind

    assert set(get_args(Kind)) == set(MEANINGS)
