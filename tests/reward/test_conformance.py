"""The rules against the conformance corpus: the original's figures, and what a careful grader gives.

`attacks.jsonl` is not run here: its records are meant to hang or to exhaust a process, and belong to the
sandbox's tests.
"""

import functools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ovrl.records import Question
from ovrl.reward import format as form
from ovrl.reward.judge import judge
from ovrl.reward.outcome import Mode
from ovrl.reward.spatial import bonus
from ovrl.reward.table import REWARDS

CORPUS = Path(__file__).parents[3] / "shared" / "conformance"
TOLERANCE = {"svg-code": 0.01, "html-code": 1e-9, "bbox": 1e-9, "ocrtext": 1e-9}

DISPUTED = Path(__file__).with_name("disputed.md")
FREE = 1.5
"""What strict may pay for a hack that the corpus sets no limit to."""


@functools.cache
def disputed(mode: Mode) -> frozenset[str]:
    """Return the ids of the records on which the mode differs from the corpus, as `disputed.md` lists them."""
    _, _, section = DISPUTED.read_text().partition(f"\n## {mode}\n")
    return frozenset(re.findall(r"^\| `([gh]-[a-z0-9-]+)` \|", section.partition("\n## ")[0], re.MULTILINE))


@functools.cache
def records(name: str) -> list[dict[str, Any]]:
    path = CORPUS / name
    if not path.exists():
        pytest.skip(f"no conformance corpus at {CORPUS}")
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewarded(record: dict[str, Any], mode: Mode) -> float | None:
    gold = record["answer"]
    golds = () if gold is None else (gold,) if isinstance(gold, str) else tuple(gold)
    question = Question(
        answer=golds, answer_type=record["answer_type"], problem_type=record.get("problem_type") or "general"
    )
    return judge(question, record["response"], mode=mode).score.reward


def differing(pairs: list[tuple[str, float | None, float | None]], tolerance: float) -> set[str]:
    """Return the ids whose reward is not the wanted one; a wanted null leaves the reward free."""
    return {name for name, got, want in pairs if want is not None and (got is None or abs(got - want) > tolerance)}


def wanted(record: dict[str, Any], mode: Mode) -> float | None:
    return record.get("sane_reward", record["reward"]) if mode == "strict" else record["reward"]


@pytest.mark.parametrize("mode", ["strict", "ov15"])
@pytest.mark.parametrize("answer_type", sorted(REWARDS))
def test_agrees_with_the_corpus(answer_type: str, mode: Mode):
    chosen = [
        record
        for record in records("rewards.jsonl")
        if record["entry"] == "RewardSystem.reward" and record["answer_type"] == answer_type
    ]
    assert chosen
    pairs = [(record["id"], rewarded(record, mode), wanted(record, mode)) for record in chosen]
    expected = {record["id"] for record in chosen} & disputed(mode)
    assert differing(pairs, TOLERANCE.get(answer_type, 0.0)) == expected


@pytest.mark.parametrize("mode", ["strict", "ov15"])
@pytest.mark.parametrize(("entry", "rule"), [("format_reward_fn", form.reward), ("must_have_bbox_reward_fn", bonus)])
def test_format_and_bonus_agree_with_the_corpus(entry, rule, mode: Mode):
    chosen = [record for record in records("rewards.jsonl") if record["entry"] == entry]
    pairs = [(record["id"], rule(record["response"], mode), wanted(record, mode)) for record in chosen]
    assert differing(pairs, 0.0) == {record["id"] for record in chosen} & disputed(mode)


def hack_reward(record: dict[str, Any], mode: Mode) -> float | None:
    return form.reward(record["response"], mode) if record["answer_type"] == "format" else rewarded(record, mode)


def test_hacks_do_not_pay_in_strict():
    overpaid: dict[str, tuple[float, str]] = {}
    for record in records("hacks.jsonl"):
        sane = record["sane_reward"] if record["sane_reward"] is not None else record.get("sane_max")
        got = hack_reward(record, "strict")
        if got is not None and got > (FREE if sane is None else sane + 0.1):
            overpaid[record["id"]] = (got, record["trick"])
    assert overpaid == {}


def test_hacks_pay_in_ov15_as_they_did():
    chosen = records("hacks.jsonl")
    pairs = [(record["id"], hack_reward(record, "ov15"), record["original_reward"]) for record in chosen]
    assert differing(pairs, 0.01) == {record["id"] for record in chosen} & disputed("ov15")


def test_every_disputed_id_is_a_record():
    known = {record["id"] for name in ("rewards.jsonl", "hacks.jsonl") for record in records(name)}
    assert disputed("strict")
    assert disputed("ov15")
    assert disputed("strict") | disputed("ov15") <= known


def test_the_reasons_are_counted_as_they_are_listed():
    _, _, section = DISPUTED.read_text().partition("\n## strict\n")
    section = section.partition("\n## ")[0]
    listed = Counter(re.findall(r"^\| `g-[a-z0-9-]+` \| ([a-z]+(?: gold)?)", section, re.MULTILINE))
    stated = {name: int(count) for name, count in re.findall(r"^\| ([a-z ]+) \| (\d+) \|", section, re.MULTILINE)}
    assert stated.pop("all") == listed.total()
    assert stated == listed


def test_agreement_counted_over_all_records():
    """The limits of the whole: what is listed must stay few; a bad gold gets null, which no figure equals."""
    records_count = len(records("rewards.jsonl"))
    assert len([name for name in disputed("ov15") if name.startswith("g-")]) <= 0.005 * records_count
    bad = re.findall(r"^\| `(g-[a-z0-9-]+)` \| bad gold", DISPUTED.read_text(), re.MULTILINE)
    assert len([name for name in disputed("strict") if name.startswith("g-")]) - len(bad) <= 0.026 * records_count
    for record in records("rewards.jsonl"):
        if record["id"] in bad:
            assert rewarded(record, "strict") is None
