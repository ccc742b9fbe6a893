"""Judge one completion: find the rule, apply it, add the bonus, combine. Nothing else combines rewards."""

import functools
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from ovrl.records import Question, Score, Status
from ovrl.reward import format as form
from ovrl.reward import spatial
from ovrl.reward.extract import answer_blocks, spoken
from ovrl.reward.outcome import MAX_CHARS, Mode, Rule, missed, unscored
from ovrl.reward.table import FALLBACK, IMPORTED_LATE, REWARDS

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


def judge(question: Question, completion: str, *, mode: Mode = "strict", limit_s: float | None = None) -> Verdict:
    """Return the score of a completion and the name of the rule; never raises.

    `components["accuracy"]` is what the rule found. For spatial-reasoning problems "box" is 0 or 1, and
    reward = accuracy + 0.5 * box. A rule that raises or that returns no finite number gives `error`.

    Args:
        question: the task and its gold answers.
        completion: the text as sampled; special tokens may be in it.
        mode: `strict`, or `ov15` for the original's figures.
        limit_s: seconds that the completion may take, for rules that share them out; None: as the rule thinks best.
    """
    scorer, rule = load_rule(question.answer_type if question.answer_type in REWARDS else FALLBACK, limit_s)
    if len(completion) > MAX_CHARS:
        note = f"longer than {MAX_CHARS:,} characters, and not read"
        return Verdict(replace(missed("parse_error"), note=note), scorer)
    try:
        if mode == "strict" and is_guess(completion):
            score = missed("ambiguous")
        else:
            score = _finite(rule(question, completion, mode))
    except Exception as error:  # noqa: BLE001 - the boundary: whatever a rule does, the batch goes on
        score = _failed(error)
    if question.problem_type == spatial.PROBLEM_TYPE and score.reward is not None:
        box = spatial.bonus(completion, mode)
        reward = score.reward + spatial.WEIGHT * box
        score = replace(score, reward=reward, components={**score.components, "box": box})
    return Verdict(score, scorer)


@functools.cache
def load_rule(answer_type: str, limit_s: float | None = None) -> tuple[str, Rule]:
    """Return the name of an answer type's rule and the rule; what it needs is imported now.

    A rule whose library is missing gives `error` for each completion, and says why. A rule that shares its time
    out has a parameter `limit_s`.
    """
    target = REWARDS[answer_type]
    module, _, attribute = target.partition(":")
    name = module.rpartition(".")[2]
    try:
        rule: Any = getattr(importlib.import_module(module), attribute)
        for late in IMPORTED_LATE.get(answer_type, ()):
            importlib.import_module(late)
    except (ImportError, OSError) as error:
        failure = _failed(error)
        return name, lambda question, completion, mode: failure
    if limit_s is not None and "limit_s" in inspect.signature(rule).parameters:
        return name, functools.partial(rule, limit_s=limit_s)
    return name, rule


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
        limit_s: float | None = None,
        rules: Callable[..., Verdict] = judge,
    ) -> None:
        """Take the plug-ins as they were loaded; see `ScoreSettings` for the meaning of the rest.

        Args:
            mode: of the built-in rules.
            reward: replaces the rule of the answer type.
            components: further parts of the score, by name.
            weights: of the components in the reward; none: the rule's own reward.
            gate: the component without which nothing is paid.
            answer_type: whose rule is taken for all records, whatever they say.
            limit_s: seconds that a completion may take.
            rules: what judges by rule, as `judge` does; perhaps in another process.
        """
        self.mode: Mode = mode
        self._answer_type = answer_type
        self._reward = reward
        self._components = dict(components or {})
        self._weights = dict(weights or {})
        self._gate = gate
        self._by_rule = functools.partial(rules, mode=mode, limit_s=limit_s)
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
            return self._by_rule(question, completion)
        fields = {**record, "completion": completion, "answer": list(question.answer)}
        if self._reward is None:
            verdict = self._by_rule(question, completion)
        else:
            verdict = Verdict(_plugged(self._reward, fields), _name(self._reward))
        return replace(verdict, score=self._combined(verdict.score, fields))

    def rule_type(self, question: Question) -> str | None:
        """Return the answer type whose rule judges a question; None when a plug-in does."""
        if self._reward is not None:
            return None
        answer_type = question.answer_type if self._answer_type is None else self._answer_type
        return answer_type if answer_type in REWARDS else FALLBACK

    def named_type(self, question: Question) -> str:
        """Return what the answer should have been, for a person."""
        return self.rule_type(question) or question.answer_type

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
        for name, text in (("status", value.status), ("extracted", value.extracted), ("note", value.note)):
            if not isinstance(text, str) and (text is not None or name == "status"):
                raise TypeError(f"{name} of the score is {type(text).__name__}, not text")
        if value.status not in get_args(Status):
            raise ValueError(f"unknown status {value.status!r}; known: {', '.join(get_args(Status))}")
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


def is_guess(completion: str) -> bool:
    """Return whether a completion tries several answers, which `strict` does not pay."""
    if completion.count("<answer>") <= _MAX_BLOCKS:
        return False
    blocks = answer_blocks(spoken(completion, "strict"))
    return len({block.strip() for block in blocks}) > _MAX_BLOCKS


def _name(plugin: Plugin) -> str:
    return f"{getattr(plugin, '__module__', '?')}:{getattr(plugin, '__qualname__', type(plugin).__qualname__)}"
