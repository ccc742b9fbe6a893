"""Judge one completion: find the rule, apply it, add the bonus. Nothing else combines rewards."""

import contextlib
import importlib
import math
from dataclasses import dataclass, replace

from ovrl.records import Question, Score
from ovrl.reward import spatial
from ovrl.reward.extract import answer_blocks, spoken
from ovrl.reward.outcome import Mode, Rule, missed, unscored
from ovrl.reward.table import FALLBACK, REWARDS, UNSUPPORTED

MAX_CHARS = 200_000
"""A longer completion is not read: every rule may count on bounded input."""

_MAX_BLOCKS = 2
"""More different answer blocks than this are guesses: one slip may be corrected, not three."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score, and the rule that gave it."""

    score: Score
    scorer: str
    """The rule's module ("choice"), or `module:function` of a custom rule."""


def judge(question: Question, completion: str, *, mode: Mode = "strict", rule: Rule | None = None) -> Verdict:
    """Return the score of a completion and the name of the rule; never raises.

    `components["accuracy"]` is what the rule found. For spatial-reasoning problems "box" is 0 or 1, and
    reward = accuracy + 0.5 * box. A rule that raises or that returns no finite number gives `error`.

    Args:
        question: the task and its gold answers.
        completion: the text as sampled; special tokens may be in it.
        mode: `strict`, or `ov15` for the original's figures.
        rule: replaces the rule of the answer type.
    """
    target = REWARDS.get(question.answer_type, REWARDS[FALLBACK])
    if rule is not None:
        scorer = _name(rule)
    elif question.answer_type in UNSUPPORTED:
        return Verdict(unscored("unsupported"), question.answer_type)
    else:
        scorer = target.partition(":")[0].rpartition(".")[2]
    if len(completion) > MAX_CHARS:
        return Verdict(missed("parse_error"), scorer)
    try:
        if rule is None and mode == "strict" and _guesses(completion):
            score = missed("ambiguous")
        else:
            score = (rule or _load(target))(question, completion, mode)
        if not all(math.isfinite(value) for value in (score.reward or 0.0, *score.components.values())):
            score = replace(unscored("error", score.extracted), note="the rule returned NaN or infinity")
    except Exception as error:  # noqa: BLE001 - the one boundary: whatever a rule does, the batch goes on
        score = replace(unscored("error"), note=f"{type(error).__name__}: {error}"[:500])
    return Verdict(_with_bonus(question, completion, mode, score), scorer)


def prepare(question: Question, rule: Rule | None) -> None:
    """Load what judging the question needs, so that its time limit does not pay for imports."""
    if rule is None and question.answer_type not in UNSUPPORTED:
        with contextlib.suppress(ImportError, OSError):  # `judge` meets it again, and says so
            _load(REWARDS.get(question.answer_type, REWARDS[FALLBACK]))


def _with_bonus(question: Question, completion: str, mode: Mode, score: Score) -> Score:
    if question.problem_type != spatial.PROBLEM_TYPE or score.reward is None:
        return score
    box = spatial.bonus(completion, mode)
    reward = score.reward + spatial.WEIGHT * box
    return replace(score, reward=reward, components={**score.components, "box": box})


def _guesses(completion: str) -> bool:
    blocks = answer_blocks(spoken(completion, "strict"))
    return len({block.strip() for block in blocks}) > _MAX_BLOCKS


def _load(target: str) -> Rule:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _name(rule: Rule) -> str:
    module = str(getattr(rule, "__module__", ""))
    if module.startswith(f"{__package__}."):
        return module.rpartition(".")[2]
    return f"{module}:{getattr(rule, '__qualname__', type(rule).__qualname__)}"
