"""The rules against the conformance corpus: the original's figures, and what a careful grader gives.

`attacks.jsonl` is not run here: its records are meant to hang or to exhaust a process, and belong to the
sandbox's tests.
"""

import functools
import json
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
TOLERANCE = {"svg-code": 0.01}

BAD_GOLD = "the gold cannot be used, which strict answers with null and not with 0 (or 1)"
FLAT_BOX = "strict pays the bonus only for a box with an area"
IS_RIGHT = "the answer is right; the corpus keeps the original's 0"
REPAIRED = "cut off and repaired; the corpus keeps the figure of the original's broken repair"
THOUGHT = "thinking is not graded in strict"

# Every record on which `strict` differs from the corpus, with the reason. Nothing else may differ.
STRICT_EXCEPTIONS: dict[str, str] = {
    "g-number-ff0a4ce7fe": BAD_GOLD,
    "g-number-4db69d7422": BAD_GOLD,
    "g-number-05bca634d5": BAD_GOLD,
    "g-boolean-fb8e521042": BAD_GOLD,
    "g-boolean-60622ac931": BAD_GOLD,
    "g-boolean-0ad4bf0a38": BAD_GOLD,
    "g-boolean-c87914cb45": BAD_GOLD,
    "g-boolean-e1c72eca17": BAD_GOLD,
    "g-boolean-246eb5475c": BAD_GOLD,
    "g-multiple-choice-2ffc306ad6": IS_RIGHT,
    "g-math-18c15b37de": IS_RIGHT,
    "g-math-2645a39777": IS_RIGHT,
    "g-math-8d592d9adf": IS_RIGHT,
    "g-math-966216ee17": IS_RIGHT,
    "g-math-d55271f2c4": IS_RIGHT,
    "g-math-78ccfb1304": IS_RIGHT,
    "g-math-6f3081ea53": IS_RIGHT,
    "g-math-7b2cf8d3a2": IS_RIGHT,
    "g-math-bd9b7b4dcb": IS_RIGHT,
    "g-math-3b8ac51c37": IS_RIGHT,
    "g-math-ce1d6996ca": BAD_GOLD,
    "g-math-796d04c3ca": BAD_GOLD,
    "g-math-06646ceab3": IS_RIGHT,
    "g-math-95d25bcfc8": IS_RIGHT,
    "g-math-99819de805": IS_RIGHT,
    "g-math-45bfef9d29": IS_RIGHT,
    "g-math-55624f6dcc": IS_RIGHT,
    "g-math-eb3fbce1fc": "three values are not the last of them",
    "g-bbox-fea2bfc03a": BAD_GOLD,
    "g-bbox-961ed49b1e": BAD_GOLD,
    "g-bbox-a4684b68dd": BAD_GOLD,
    "g-bbox-dab861d761": BAD_GOLD,
    "g-bbox-5733ac52ec": BAD_GOLD,
    "g-bbox-be57168320": BAD_GOLD,
    "g-bbox-db2ad79286": "a gold box in round brackets is read",
    "g-bbox-b9f3ba0fa9": BAD_GOLD,
    "g-bbox-ec274ebb01": BAD_GOLD,
    "g-bbox-a6f4a1007e": BAD_GOLD,
    "g-html-36018178bf": THOUGHT,
    "g-html-cbf7b1cd9b": THOUGHT,
    "g-html-d54dd1ea38": BAD_GOLD,
    "g-html-1ba83c4a18": BAD_GOLD,
    "g-html-ac6426fce8": BAD_GOLD,
    "g-svg-082502932c": REPAIRED,
    "g-svg-64c66fadc7": REPAIRED,
    "g-svg-6c2c9dc5b1": REPAIRED,
    "g-svg-caa3af2a87": REPAIRED,
    "g-svg-fb3b55fabc": REPAIRED,
    "g-svg-b2c755d919": REPAIRED,
    "g-svg-a7de538c6f": REPAIRED,
    "g-spatial-bonus-09740a9a64": FLAT_BOX,
    "g-spatial-bonus-eb5a579365": FLAT_BOX,
    "g-spatial-bonus-9c8f33742c": FLAT_BOX,
    "g-spatial-bonus-9b241ab39d": FLAT_BOX,
    "g-spatial-bonus-af06a7346b": FLAT_BOX,
    "g-spatial-bonus-96b6ea784d": FLAT_BOX,
    "g-spatial-bonus-ceab76e520": FLAT_BOX,
    "g-spatial-bonus-ec6909ca6d": FLAT_BOX,
    "g-spatial-bonus-6d997ad3c3": FLAT_BOX,
    "g-spatial-bonus-f538344d18": FLAT_BOX,
    "g-spatial-bonus-0c9100faa0": FLAT_BOX,
    "g-spatial-bonus-b7a1b84a50": FLAT_BOX,
    "g-spatial-bonus-ea3c81798c": FLAT_BOX,
    "g-spatial-bonus-cb448a0579": FLAT_BOX,
    "g-must-have-bbox-32b6a4e9b9": FLAT_BOX,
    "g-must-have-bbox-22c16d3b9e": FLAT_BOX,
    "g-must-have-bbox-7f6e401217": FLAT_BOX,
    "g-must-have-bbox-59fbca9504": FLAT_BOX,
    "g-must-have-bbox-5bd7b18455": FLAT_BOX,
    "g-must-have-bbox-06cf566652": FLAT_BOX,
    "g-must-have-bbox-7ff5e0635b": FLAT_BOX,
    "g-must-have-bbox-7ba811fe99": FLAT_BOX,
    "g-dispatch-33ccccaa63": BAD_GOLD,
    "g-dispatch-a32fa130fd": BAD_GOLD,
    "g-dispatch-a6772402ee": BAD_GOLD,
    "g-dispatch-964ab6500a": BAD_GOLD,
    "g-dispatch-2263fbd999": BAD_GOLD,
    "g-dispatch-21b7eede4d": BAD_GOLD,
    "g-dispatch-6f8b3441b2": BAD_GOLD,
    "g-dispatch-ba106be24f": BAD_GOLD,
    "g-dispatch-b6a1688cce": BAD_GOLD,
    "g-dispatch-a15e305e3a": BAD_GOLD,
}
OV15_EXCEPTIONS: dict[str, str] = {
    "g-math-8d592d9adf": "1/2 against 50\\%: depends on the library's version, as the corpus says",
}
STRICT_HACK_EXCEPTIONS: dict[str, str] = {
    "h-number-d31c9795": "a gold that is no number is compared as text, as rewards.jsonl has it",
    "h-multiple-choice-e0006559": "four years in a row are a box with an area",
    "h-multiple-choice-41d8c221": "an unclosed thought is graded, as rewards.jsonl has it",
    "h-format-a9178050": "repetition is not measured",
    "h-any-9d47374c": BAD_GOLD,
    "h-critic-8392e786": BAD_GOLD,
    "h-ocrtext-9d4e53fd": "the stated formula pays it",
}
OV15_HACK_EXCEPTIONS: dict[str, str] = {
    "h-math-expressions-cebee337": "Python other than plain arithmetic is not evaluated",
}


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


@pytest.mark.parametrize("mode", ["strict", "ov15"])
@pytest.mark.parametrize("answer_type", sorted(REWARDS))
def test_agrees_with_the_corpus(answer_type: str, mode: Mode):
    exceptions = STRICT_EXCEPTIONS if mode == "strict" else OV15_EXCEPTIONS
    chosen = [
        record
        for record in records("rewards.jsonl")
        if record["entry"] == "RewardSystem.reward" and record["answer_type"] == answer_type
    ]
    assert chosen
    pairs = [
        (
            record["id"],
            rewarded(record, mode),
            record.get("sane_reward", record["reward"]) if mode == "strict" else record["reward"],
        )
        for record in chosen
    ]
    expected = {record["id"] for record in chosen} & set(exceptions)
    assert differing(pairs, TOLERANCE.get(answer_type, 1e-9)) == expected


@pytest.mark.parametrize("mode", ["strict", "ov15"])
@pytest.mark.parametrize(("entry", "rule"), [("format_reward_fn", form.reward), ("must_have_bbox_reward_fn", bonus)])
def test_format_and_bonus_agree_with_the_corpus(entry, rule, mode: Mode):
    chosen = [record for record in records("rewards.jsonl") if record["entry"] == entry]
    pairs = [
        (
            record["id"],
            rule(record["response"], mode),
            record.get("sane_reward", record["reward"]) if mode == "strict" else record["reward"],
        )
        for record in chosen
    ]
    exceptions = STRICT_EXCEPTIONS if mode == "strict" else OV15_EXCEPTIONS
    assert differing(pairs, 0.0) == {record["id"] for record in chosen} & set(exceptions)


@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_hacks_do_not_pay_in_strict(mode: Mode):
    pairs: list[tuple[str, float | None, float | None]] = []
    for record in records("hacks.jsonl"):
        if record["answer_type"] == "general-code":
            continue
        got = form.reward(record["response"], mode) if record["answer_type"] == "format" else rewarded(record, mode)
        want = record["sane_reward"] if mode == "strict" else record["original_reward"]
        pairs.append((record["id"], got, want))
    exceptions = STRICT_HACK_EXCEPTIONS if mode == "strict" else OV15_HACK_EXCEPTIONS
    assert differing(pairs, 0.01) == set(exceptions)


def test_every_exception_is_a_record():
    known = {record["id"] for record in records("rewards.jsonl")}
    assert set(STRICT_EXCEPTIONS) | set(OV15_EXCEPTIONS) <= known
