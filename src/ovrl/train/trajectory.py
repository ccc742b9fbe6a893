"""What was sampled for training: completions in groups. Row ids and numbers, no pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovrl.records import FinishReason, Sample, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One sampled completion with its score."""

    k: int
    text: str
    token_ids: tuple[int, ...]
    """[T] sampled tokens, the stop token included."""
    logprobs: tuple[float, ...]
    """[T] natural logarithms under the policy that sampled them (the behaviour policy)."""
    versions: tuple[int, ...]
    """[T] policy version of each token."""
    finish_reason: FinishReason
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All completions of one planned prompt."""

    gid: int
    """Number of the group in the run, from 0."""
    sample: Sample
    trajectories: tuple[Trajectory, ...]

    @property
    def rewards(self) -> list[float | None]:
        """The reward of each completion; None where it could not be judged."""
        return [trajectory.score.reward for trajectory in self.trajectories]

    @property
    def accuracies(self) -> list[float]:
        """How right each completion is: the part of its reward that is called accuracy, or else the reward.

        Bonuses for form or length say nothing about difficulty. 0 where a completion could not be judged.
        """
        return [t.score.components.get("accuracy", t.score.reward or 0.0) for t in self.trajectories]

    @property
    def version_oldest(self) -> int:
        """Oldest policy version that contributed a token."""
        return min(min(t.versions, default=0) for t in self.trajectories)


def encode(group: Group) -> list[dict[str, Any]]:
    """Return the lines of `trajectories/*.jsonl` for a group, without its fate: what `spool` appends."""
    return [
        {
            "group_id": group.gid,
            "sample_id": group.sample.id,
            "k": t.k,
            "completion_tokens": len(t.token_ids),
            "reward": t.score.reward,
            "status": t.score.status,
            "version_oldest": min(t.versions, default=None),
            "version_newest": max(t.versions, default=None),
            "components": dict(t.score.components),
            "extracted": t.score.extracted,
            "finish_reason": t.finish_reason,
            "completion": t.text,
            "token_ids": t.token_ids,
            "logprobs": t.logprobs,
            "versions": t.versions,
        }
        for t in group.trajectories
    ]


def decode(lines: Sequence[Mapping[str, Any]], sample: Sample) -> Group:
    """Return the group that `encode` wrote as `lines`."""
    trajectories = tuple(
        Trajectory(
            k=line["k"],
            text=line["completion"],
            token_ids=tuple(line["token_ids"]),
            logprobs=tuple(line["logprobs"]),
            versions=tuple(line["versions"]),
            finish_reason=line["finish_reason"],
            score=Score(
                reward=line["reward"],
                status=line["status"],
                components=line["components"],
                extracted=line["extracted"],
            ),
        )
        for line in lines
    )
    return Group(gid=lines[0]["group_id"], sample=sample, trajectories=trajectories)
