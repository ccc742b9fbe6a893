"""Groups made by hand."""

from collections.abc import Callable, Sequence

import pytest

from ovrl.records import ImageRef, Question, Sample, Score
from ovrl.train.trajectory import Group, Trajectory


@pytest.fixture
def make_group() -> Callable[..., Group]:
    def make(
        rewards: Sequence[float],
        *,
        accuracies: Sequence[float] | None = None,
        lengths: Sequence[int] | None = None,
        kind: str = "general",
    ) -> Group:
        """A group with these rewards; without accuracies the reward is the accuracy."""
        scores = [
            Score(reward=reward, components={} if accuracies is None else {"accuracy": accuracies[k]})
            for k, reward in enumerate(rewards)
        ]
        return Group(
            gid=0,
            sample=Sample(id="s", images=(ImageRef(data=b""),), question=Question(problem_type=kind)),
            trajectories=tuple(
                Trajectory(
                    k=k,
                    text="",
                    token_ids=(1,) * (n := lengths[k] if lengths else 2),
                    logprobs=(-1.0,) * n,
                    versions=(0,) * n,
                    finish_reason="stop",
                    score=score,
                )
                for k, score in enumerate(scores)
            ),
        )

    return make
