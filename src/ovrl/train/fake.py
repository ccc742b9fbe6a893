"""A learner without a model: its weights are a digest of everything that it was taught. For tests and dry runs."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrl.rollout.prompt import Prompt
from ovrl.train.trajectory import Group

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS = "weights.json"


class DigestLearner:
    """Two of these have the same weights exactly when they were taught the same, in the same order."""

    def __init__(self, checkpoint: Path | None = None) -> None:
        """Begin, or go on from a directory that `save` wrote."""
        self.digest = json.loads((checkpoint / _WEIGHTS).read_text()) if checkpoint else ""
        self.steps = 0

    def step(self, items: Sequence[Any], number: int) -> dict[str, Any]:
        """Take everything in."""
        taught = json.dumps([self.digest, self.steps, number, items])
        self.digest = hashlib.sha256(taught.encode()).hexdigest()
        self.steps += 1
        return {"tokens_trained": sum(len(tokens) for _, _, tokens, _, _ in items)}

    def weights(self) -> "Iterator[tuple[str, Tensor]]":
        """Return no tensors: what loads these weights is scripted, too."""
        return iter(())

    def save(self, path: Path) -> None:
        """Write the weights as a directory."""
        path.mkdir()
        (path / _WEIGHTS).write_text(json.dumps(self.digest))

    def save_state(self, path: Path) -> None:
        """Write what is not in the weights."""
        path.write_text(json.dumps(self.steps))

    def load_state(self, path: Path) -> None:
        """Read back what `save_state` wrote."""
        self.steps = json.loads(path.read_text())


def lesson(groups: Sequence[Group], prompts: Sequence[Prompt], credit: Sequence[Sequence[Any]]) -> list[Any]:
    """Return all that a `DigestLearner` is taught of groups, prompts and advantages, as JSON values."""
    del prompts
    return [
        (group.gid, t.k, t.token_ids, t.versions, advantage)
        for group, advantages in zip(groups, credit, strict=True)
        for t, advantage in zip(group.trajectories, advantages, strict=True)
    ]


def same_rewards(group: Group) -> str | None:
    """Reject a group that could not be judged, or has nothing to teach."""
    if None in group.rewards:
        return "unscored"
    return "zero_variance" if len(set(group.rewards)) == 1 else None


class Centred:
    """The method of a run without a model: reward - mean for each completion."""

    def credit(self, groups: Sequence[Group], number: int) -> list[list[float]]:
        """Return one advantage for each completion of each group."""
        del number
        rewards = [[reward or 0.0 for reward in group.rewards] for group in groups]
        return [[reward - sum(members) / len(members) for reward in members] for members in rewards]

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}
