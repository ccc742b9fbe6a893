"""Judge one completion: find the rule, apply it, add the bonus, combine. Nothing else combines rewards."""

import functools
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ovrl.records import Question, Score
from ovrl.reward import format as form
from ovrl.reward import spatial
from ovrl.reward.extract import answer_blocks, spoken
from ovrl.reward.outcome import Mode, Rule, missed, unscored
from ovrl.reward.table import FALLBACK, REWARDS

MAX_CHARS = 200_000
"""A longer completion is not read: every rule may count on bounded input."""

_MAX_BLOCKS = 2
"""More different answer blocks than this are guesses: one slip may be corrected, not three."""

FORMAT = "format"
"""The component that `format.reward` gives; computed when a weight or the gate asks for it."""

Plugin = Callable[[dict[str, Any]], "float | Score"]
"""A reward of the user: reads the whole record, with `completion` and `answer` (a list) under these names."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score, and the rule that gave it."""

    score: Score
    scorer: str
    """The rule's module ("choice"), or `module:function` of a plug-in."""


def judge(question: Question, completion: str, *, mode: Mode = "strict") -> Verdict:
    """Return the score of a completion and the name of the rule; never raises.

    `components["accuracy"]` is what the rule found. For spatial-reasoning problems "box" is 0 or 1, and
    reward = accuracy + 0.5 * box. A rule that raises or that returns no finite number gives `error`.

    Args:
        question: the task and its gold answers.
        completion: the text as sampled; special tokens may be in it.
        mode: `strict`, or `ov15` for the original's figures.
    """
    scorer, rule = load_rule(question.answer_type if question.answer_type in REWARDS else FALLBACK)
    if len(completion) > MAX_CHARS:
        return Verdict(missed("parse_error"), scorer)
    try:
        is_guess = mode == "strict" and _guesses(completion)
        score = missed("ambiguous") if is_guess else _finite(rule(question, completion, mode))
    except Exception as error:  # noqa: BLE001 - the boundary: whatever a rule does, the batch goes on
        score = _failed(error)
    if question.problem_type == spatial.PROBLEM_TYPE and score.reward is not None:
        box = spatial.bonus(completion, mode)
        reward = score.reward + spatial.WEIGHT * box
        score = replace(score, reward=reward, components={**score.components, "box": box})
    return Verdict(score, scorer)


@functools.cache
def load_rule(answer_type: str) -> tuple[str, Rule]:
    """Return the name of an answer type's rule and the rule; what it needs is imported now.

    A rule whose library is missing gives `error` for each completion, and says why.
    """
    target = REWARDS[answer_type]
    module, _, attribute = target.partition(":")
    name = module.rpartition(".")[2]
    try:
        return name, getattr(importlib.import_module(module), attribute)
    except (ImportError, OSError) as error:
        failure = _failed(error)
        return name, lambda question, completion, mode: failure


class Judge:
    """Judges as the settings of scoring ask: by rule or plug-in, with further components, weights and gates."""

    def __init__(
        self,
        *,
        mode: Mode = "strict",
        reward: Plugin | None = None,
        components: Mapping[str, Plugin] | None = None,
        weights: Mapping[str, float] | None = None,
        gate: str | None = None,
        answer_type: str | None = None,
    ) -> None:
        """Take the plug-ins as they were loaded; see `ScoreSettings` for the meaning of the rest.

        Args:
            mode: of the built-in rules.
            reward: replaces the rule of the answer type.
            components: further parts of the score, by name.
            weights: of the components in the reward; none: the rule's own reward.
            gate: the component without which nothing is paid.
            answer_type: whose rule is taken for all records, whatever they say.
        """
        self.mode: Mode = mode
        self._answer_type = answer_type
        self._reward = reward
        self._components = dict(components or {})
        self._weights = dict(weights or {})
        self._gate = gate
        self.is_plain = reward is None and not components and not weights and gate is None and answer_type is None
        """Whether nothing but the rule of the answer type decides."""
        if FORMAT in {*self._weights, gate}:
            self._components.setdefault(FORMAT, lambda record: form.reward(record["completion"], mode))

    def __call__(self, question: Question, completion: str, record: Mapping[str, Any]) -> Verdict:
        """Return the verdict on one completion; never raises.

        Args:
            question: the task and its gold answers.
            completion: the text as sampled.
            record: all fields of the line or sample, for plug-ins.
        """
        if self._answer_type is not None:
            question = replace(question, answer_type=self._answer_type)
        if self.is_plain:
            return judge(question, completion, mode=self.mode)
        fields = {**record, "completion": completion, "answer": list(question.answer)}
        if self._reward is None:
            verdict = judge(question, completion, mode=self.mode)
        else:
            verdict = Verdict(_plugged(self._reward, fields), _name(self._reward))
        return replace(verdict, score=self._combined(verdict.score, fields))

    def _combined(self, score: Score, fields: dict[str, Any]) -> Score:
        """Return the score with the further components; the weighted sum, if there are weights, times the gate."""
        if score.reward is None:
            return score
        found = dict(score.components)
        for name, plugin in self._components.items():
            part = _plugged(plugin, fields)
            if part.reward is None:
                return replace(part, note=f"{name}: {part.note}")
            found[name] = part.reward
        reward = score.reward
        if self._weights:
            reward = sum(weight * found.get(name, 0.0) for name, weight in self._weights.items())
        if self._gate is not None and found.get(self._gate, 0.0) <= 0.0:
            reward = 0.0
        return replace(score, reward=reward, components=found)


def _plugged(plugin: Plugin, fields: dict[str, Any]) -> Score:
    """Return what a plug-in says; a number is the accuracy."""
    try:
        value: Any = plugin(dict(fields))
        if not isinstance(value, Score):
            return _finite(Score(reward=float(value), components={"accuracy": float(value)}))
        plain = {str(name): float(part) for name, part in value.components.items()}  # NumPy's are no JSON
        reward = None if value.reward is None else float(value.reward)
        return _finite(replace(value, reward=reward, components=plain))
    except Exception as error:  # noqa: BLE001 - the boundary: a plug-in may raise anything
        return _failed(error)


def _finite(score: Score) -> Score:
    if score.reward is None or (math.isfinite(score.reward) and all(map(math.isfinite, score.components.values()))):
        return score
    return replace(unscored("error", score.extracted), note="the rule returned NaN or infinity")


def _failed(error: Exception) -> Score:
    note = f"{type(error).__name__}: {error}"[:500].encode(errors="replace").decode()
    return replace(unscored("error"), note=note)


def _guesses(completion: str) -> bool:
    if completion.count("<answer>") <= _MAX_BLOCKS:
        return False
    blocks = answer_blocks(spoken(completion, "strict"))
    return len({block.strip() for block in blocks}) > _MAX_BLOCKS


def _name(plugin: Plugin) -> str:
    return f"{getattr(plugin, '__module__', '?')}:{getattr(plugin, '__qualname__', type(plugin).__qualname__)}"
