"""Prompts of known success rates: what the rules keep of each kind."""

import random

import pytest

from ovrl.curate import guessing
from ovrl.curate.row import Judge
from ovrl.curate.rules import Counts
from ovrl.curate.settings import CurateSettings
from ovrl.records import Question

CHOICE = Question(problem="Which?\nA. a\nB. b\nC. c\nD. d", answer=("A",), answer_type="multiple-choice")
OPEN = Question(problem="What?", answer=("x",), answer_type="any")
KINDS = {
    "guessed choice": (CHOICE, 0.25),
    "latent choice": (CHOICE, 0.5),
    "latent open": (OPEN, 0.2),
    "trivial open": (OPEN, 0.98),
    "trivial choice": (CHOICE, 0.98),
    "hopeless open": (OPEN, 0.0),
}
PROMPTS = 3000


@pytest.fixture(scope="module")
def kept():
    """Return (rule, kind) -> share of the prompts that the rule keeps at n = 32."""
    rng = random.Random(20)
    found = {}
    judges = {rule: Judge(CurateSettings(rule=rule)) for rule in ("default", "paper", "band", "gap")}
    for kind, (question, p) in KINDS.items():
        drawn = [sum(rng.random() < p for _ in range(32)) for _ in range(PROMPTS)]
        for rule, judge in judges.items():
            verdicts = [
                judge(Counts(32, 32, c, c / 32, 0.0, 0, 0, 0), guessing.chance(question)).verdict.keep for c in drawn
            ]
            found[rule, kind] = sum(verdicts) / PROMPTS
    return found


def test_the_rules_of_the_paper_keep_guesses(kept):
    assert kept["paper", "guessed choice"] > 0.9
    assert kept["band", "guessed choice"] > 0.9


def test_the_default_drops_guesses_and_keeps_what_is_latent(kept):
    assert kept["default", "guessed choice"] < 0.1
    assert kept["default", "latent choice"] >= 0.85
    assert kept["default", "latent open"] >= 0.85


@pytest.mark.parametrize("rule", ["default", "paper"])
def test_nothing_trivial_or_hopeless_is_kept(kept, rule):
    for kind in ("trivial open", "trivial choice", "hopeless open"):
        assert kept[rule, kind] < 0.02


def test_guesses_pass_at_most_as_often_as_the_confidence_says(kept):
    error = (0.05 * 0.95 / PROMPTS) ** 0.5
    assert kept["default", "guessed choice"] <= 0.05 + 3 * error
