"""One line of metrics for each optimizer step."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovrl import store
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

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def sampled(groups: Sequence[Group], rejected: Counter[str], used: int, version: int) -> dict[str, Any]:
    """Return what can be said of everything that was sampled for a step, rejected groups included.

    Accuracy and reward are over all completions that could be judged: over the trained groups alone they
    would stay near one half, whatever the policy learns.

    Args:
        groups: all groups of the step.
        rejected: reason -> groups.
        used: groups that are trained.
        version: the policy version that is trained.
    """
    trajectories = [trajectory for group in groups for trajectory in group.trajectories]
    count = max(1, len(trajectories))
    scores = [t.score for t in trajectories if t.score.reward is not None]
    rewards = [score.reward for score in scores if score.reward is not None]
    lengths = [len(t.token_ids) for t in trajectories]
    ages = [version - v for t in trajectories for v in t.versions]
    spreads = [statistics.pstdev(r) for group in groups if (r := [x for x in group.rewards if x is not None])]
    return {
        "reward_mean": statistics.fmean(rewards) if rewards else None,
        "accuracy_mean": statistics.fmean(s.components.get("accuracy", s.reward or 0.0) for s in scores)
        if scores
        else None,
        "reward_std": statistics.fmean(spreads) if spreads else None,
        "groups_sampled": len(groups),
        "groups_used": used,
        "groups_rejected": dict(rejected),
        "unscored": len(trajectories) - len(scores),
        "no_answer_rate": sum(t.score.status == "no_answer" for t in trajectories) / count,
        "age_max": max(ages, default=0),
        "age_mean": statistics.fmean(ages) if ages else 0.0,
        "completion_tokens": statistics.fmean(lengths) if lengths else 0.0,
        "truncated_rate": sum(t.finish_reason == "length" for t in trajectories) / count,
    }


def timed(total: float, generate: float, train: float, publish: float) -> dict[str, float]:
    """Return the times of a step, in seconds, and its async efficiency.

    Efficiency is what a step would take if generation and training overlapped without loss,
    max(generate, train) + publish, divided by what it took.
    """
    ideal = max(generate, train) + publish
    return {
        "time_step_s": round(total, 4),
        "time_generate_s": round(generate, 4),
        "time_wait_s": round(generate, 4),  # nothing overlaps at eta = 0: the trainer waits for all of it
        "time_train_s": round(train, 4),
        "time_publish_s": round(publish, 4),
        "async_efficiency": round(ideal / total, 4) if total else 0.0,
    }
