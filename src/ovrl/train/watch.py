"""Early warnings: what goes wrong in a training run long before it has cost a day, and what to do about it."""

import statistics
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

_WINDOW = 10
"""Steps over which figures are averaged before they are compared; also those that make the beginning of a run."""

_FEWEST = 5
"""Steps that must have been seen before anything is said."""


class Watch:
    """Looks at the metrics of each step. A warning is given once, and again only after it had gone away."""

    def __init__(self) -> None:
        self._first: list[Mapping[str, Any]] = []
        self._last: deque[Mapping[str, Any]] = deque(maxlen=_WINDOW)
        self._best: dict[str, float] = {}
        """Problem type -> its best mean reward so far."""
        self._standing: set[str] = set()

    def look(self, line: Mapping[str, Any]) -> list[str]:
        """Take the metrics of a step, and return the warnings that are new."""
        self._last.append(line)
        if len(self._first) < _WINDOW:
            self._first.append(line)
        if len(self._last) < _FEWEST:
            return []
        found = dict(self._findings())
        new = [text for name, text in found.items() if name not in self._standing]
        self._standing = set(found)
        return new

    def _findings(self) -> Iterator[tuple[str, str]]:
        """Yield (name, warning) for everything that is wrong now."""
        yield from self._rewards()
        yield from self._policy()
        yield from self._types()

    def _rewards(self) -> Iterator[tuple[str, str]]:
        spread = self._mean("reward_std")
        if spread is not None and spread < 1e-6:
            yield (
                "rewards agree",
                "the rewards of every group agree, so there is nothing to learn from: curate the samples with this "
                "model (ovrl curate), or give partial credit (train.score.components)",
            )
        sampled, used = self._mean("groups_sampled"), self._mean("groups_used")
        if sampled and used is not None and used / sampled < 0.25:
            yield (
                "groups rejected",
                f"{1 - used / sampled:.0%} of the groups are rejected {self._last[-1].get('groups_rejected')}: most of "
                "what is sampled teaches nothing; curate the samples with this model",
            )
        truncated = self._mean("truncated_rate")
        if truncated is not None and truncated > 0.25:
            yield (
                "truncated",
                f"{truncated:.0%} of the completions are cut at sampling.max_new_tokens, before they can be right: "
                "raise it, or punish length",
            )

    def _policy(self) -> Iterator[tuple[str, str]]:
        entropy, at_first = self._mean("entropy"), self._mean("entropy", self._first)
        if entropy is not None and at_first and entropy < 0.2 * at_first:
            yield (
                "entropy",
                f"the entropy has fallen from {at_first:.3g} to {entropy:.3g}: the policy stops exploring; lower "
                "optimizer.lr, or raise objective.clip_high",
            )
        length, at_first = self._mean("completion_tokens"), self._mean("completion_tokens", self._first)
        if length is not None and at_first and length > 3 * at_first:
            yield (
                "length",
                f"completions have grown from {at_first:.0f} to {length:.0f} tokens: see in `ovrl report` whether they "
                "say more; if not, punish length",
            )
        gap, at_first = self._mean("behaviour_kl"), self._mean("behaviour_kl", self._first)
        if gap is not None and gap > max(0.05, 3 * (at_first or 0.0)):
            yield (
                "behaviour",
                f"the policy that samples and the one that is trained drift apart (behaviour_kl {gap:.3g}): lower "
                "train.eta or optimizer.lr",
            )

    def _types(self) -> Iterator[tuple[str, str]]:
        """Look for problem types that lose what they had gained."""
        for kind in {kind for line in self._last for kind in line.get("reward_by_type") or ()}:
            values = [line["reward_by_type"][kind] for line in self._last if kind in line["reward_by_type"]]
            if len(values) < _FEWEST:
                continue
            mean = statistics.fmean(values)
            best = self._best[kind] = max(self._best.get(kind, mean), mean)
            if mean < best - 0.15:
                yield (
                    f"type {kind}",
                    f"{kind} has fallen from {best:.2f} to {mean:.2f}: the other types drown it; give it more samples "
                    "in the mixture",
                )

    def _mean(self, name: str, lines: "list[Mapping[str, Any]] | None" = None) -> float | None:
        values = [line[name] for line in (self._last if lines is None else lines) if line.get(name) is not None]
        return statistics.fmean(values) if values else None
