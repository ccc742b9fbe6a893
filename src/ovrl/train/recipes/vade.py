"""VADE: prompts of middling difficulty first, by Thompson sampling (arXiv:2511.18902)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat

from ovrl.records import Sample, derive_seed
from ovrl.settings import Settings
from ovrl.train.recipe import Recipe
from ovrl.train.sampler import Sampler


class Vade(Recipe):
    """GRPO on the prompts that promise to teach most."""

    weighs_difficulty = True

    class Options(Settings):
        """Of the sampler. The paper's decay factors are not known to us; these are ours."""

        prior: PositiveFloat = 1.0
        """Pseudo-counts of right and wrong that a prompt starts with, and forgets back to."""
        decay_hit: float = Field(default=0.5, ge=0, le=1)
        """What is left of a prompt's counts when it is sampled again."""
        decay_pool: float = Field(default=0.98, ge=0, le=1)
        """What is left of every prompt's counts after each version: the policy drifts for all of them."""

    def sampler(self, samples: Sequence[Sample], *, seed: int, groups: int) -> Sampler:
        """Return the sampler."""
        chosen = self.options
        return ThompsonSampler(
            len(samples), groups, seed, prior=chosen.prior, hit=chosen.decay_hit, pool=chosen.decay_pool
        )


def promise(p: np.ndarray) -> np.ndarray:
    """Return p (1 - p)^2 for chances of success: variance times what is left to learn; largest at p = 1/3."""
    return p * (1 - p) ** 2


class ThompsonSampler:
    """Keeps Beta(right, wrong) for each row; draws a chance from each and takes the `groups` most promising rows.

    O(rows) numbers and no rollouts beyond those that train. `right` and `wrong` hold what is above the prior, as of
    the version in `seen`; what has passed since is forgotten when it is looked at.
    """

    def __init__(self, rows: int, groups: int, seed: int, *, prior: float, hit: float, pool: float) -> None:
        self._groups = min(groups, rows)
        self._seed = seed
        self._prior, self._hit, self._pool = prior, hit, pool
        self._right, self._wrong = np.zeros(rows), np.zeros(rows)
        self._seen = np.zeros(rows, dtype=np.int64)
        self._version = 0
        self._draws = 0
        self._waiting: list[int] = []

    def row(self, gid: int) -> int:
        """Return the next row: of the last draw while there are any, else of a new one."""
        del gid
        if not self._waiting:
            self._waiting = self._draw()
        return self._waiting.pop(0)

    def chances(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the parameters of each row's Beta distribution at the newest version, [rows] each."""
        left = self._pool ** (self._version - self._seen)
        return self._prior + left * self._right, self._prior + left * self._wrong

    def _draw(self) -> list[int]:
        rng = np.random.default_rng(derive_seed(self._seed, "vade", self._draws))
        self._draws += 1
        score = promise(rng.beta(*self.chances()))
        return [int(row) for row in np.argsort(-score, kind="stable")[: self._groups]]

    def observe(self, row: int, rewards: Sequence[float | None], version: int) -> None:
        """Forget a part, and count the rewards, each as that share of a success."""
        self._version = max(self._version, version)
        kept = self._hit * self._pool ** max(0, version - int(self._seen[row]))
        judged = [min(1.0, max(0.0, reward)) for reward in rewards if reward is not None]
        right = sum(judged)
        self._right[row] = kept * self._right[row] + right
        self._wrong[row] = kept * self._wrong[row] + len(judged) - right
        self._seen[row] = max(int(self._seen[row]), version)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of the rows that were seen, and what is waiting."""
        rows = np.flatnonzero(self._right + self._wrong).tolist()
        counts = [[row, self._right[row].item(), self._wrong[row].item(), self._seen[row].item()] for row in rows]
        return {"counts": counts, "version": self._version, "draws": self._draws, "waiting": list(self._waiting)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the counts back."""
        self._right[:], self._wrong[:], self._seen[:] = 0, 0, 0
        for row, right, wrong, seen in state["counts"]:
            self._right[row], self._wrong[row], self._seen[row] = right, wrong, seen
        self._version, self._draws, self._waiting = state["version"], state["draws"], list(state["waiting"])
