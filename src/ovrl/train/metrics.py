"""One line of metrics for each optimizer step."""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.train.books import Step
from ovrl.train.meter import Overlap
from ovrl.train.trajectory import Group


class Metrics:
    """`metrics.jsonl`, cut back to where a resumed run begins."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the file and keep the lines of the first `step` steps."""
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if _whole(line)]
            kept = [line for line in lines if json.loads(line)["step"] < step]
            store.write_atomic(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        """Append the line of one step."""
        self._file.write(store.dumps(line) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Wait until the disk has every line."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


NOTHING_LEARNT: dict[str, Any] = {
    **dict.fromkeys(("loss", "entropy", "clip_fraction", "behaviour_kl", "behaviour_masked", "grad_norm", "lr"), 0.0),
    "tokens_trained": 0,
}
"""The figures of a step without a group."""


def sampled(step: Step) -> dict[str, Any]:
    """Return what can be said of everything that a step decided on, rejected groups included.

    Accuracy and reward are over all completions that could be judged: over the trained groups alone they
    would stay near one half, whatever the policy learns. Ages are those of trained tokens.
    """
    groups = [*step.taken, *step.rejected]
    trajectories = [trajectory for group in groups for trajectory in group.trajectories]
    count = max(1, len(trajectories))
    scores = [t.score for t in trajectories if t.score.reward is not None]
    rewards = [score.reward for score in scores if score.reward is not None]
    trained = [t.versions for group in step.taken for t in group.trajectories if t.versions]
    tokens = sum(map(len, trained))
    spreads = [statistics.pstdev(r) for group in groups if (r := [x for x in group.rewards if x is not None])]
    return {
        "reward_mean": _mean(rewards),
        "accuracy_mean": _mean([s.components.get("accuracy", s.reward or 0.0) for s in scores]),
        "reward_std": _mean(spreads),
        "reward_by_type": _by_type(groups),
        "groups_sampled": len(groups),
        "groups_used": len(step.taken),
        "groups_rejected": dict(step.reasons),
        "unscored": len(trajectories) - len(scores),
        "no_answer_rate": sum(t.score.status == "no_answer" for t in trajectories) / count,
        "age_max": step.number - min(map(min, trained), default=step.number),
        "age_mean": step.number - sum(map(sum, trained)) / tokens if tokens else 0.0,
        "completion_tokens": _mean([len(t.token_ids) for t in trajectories]) or 0.0,
        "truncated_rate": sum(t.finish_reason == "length" for t in trajectories) / count,
    }


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _by_type(groups: Sequence[Group]) -> dict[str, float]:
    """Return the mean reward of each problem type."""
    found: dict[str, list[float]] = {}
    for group in groups:
        rewards = [reward for reward in group.rewards if reward is not None]
        found.setdefault(group.sample.question.problem_type, []).extend(rewards)
    return {kind: round(statistics.fmean(rewards), 4) for kind, rewards in sorted(found.items()) if rewards}


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a step took, in seconds."""

    step: float = 0.0
    """From the last step's new weights to those of this step."""
    wait: float = 0.0
    """The trainer waited for its batch."""
    train: float = 0.0
    publish: float = 0.0


def timed(times: Times, overlap: Overlap | None) -> dict[str, Any]:
    """Return the times of a step, how well they overlapped, and how well they could.

    Args:
        times: as measured.
        overlap: what the meter says; None for a step that is trained again after a stop, where nothing is sampled.
    """
    figures: dict[str, float | None] = {
        "time_step_s": times.step,
        "time_generate_s": overlap.work if overlap else None,
        "time_wait_s": times.wait,
        "time_engine_wait_s": overlap.engine_idle if overlap else None,
        "time_train_s": times.train,
        "time_publish_s": times.publish,
        "async_efficiency": overlap.efficiency if overlap else None,
        "speedup": overlap.speedup if overlap else None,
        "speedup_bound": overlap.bound if overlap else None,
        "straggler_factor": overlap.sigma if overlap else None,
        "train_ratio": overlap.train_ratio if overlap else None,
        "publish_ratio": overlap.publish_ratio if overlap else None,
    }
    return {name: None if value is None else round(value, 4) for name, value in figures.items()}
