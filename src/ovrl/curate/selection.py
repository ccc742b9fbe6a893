"""Choose among the samples that pass the rule: by weight to a size, by group, or to a target composition.

Each sample draws a key of its own from (seed, id), so the choice is the same for any order of the input and
any number of workers, and within a group a smaller draw is part of a larger one.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ovrl.curate.mixture import Mixture, StageTarget
from ovrl.errors import UsageError
from ovrl.records import derive_seed

K = TypeVar("K", str, tuple[int, str])


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sample that passes the rule."""

    sample_id: str
    stage: int
    group: str
    """Value of the field that groups are made by; "" without groups."""
    weight: float


@dataclass(frozen=True, slots=True)
class Target:
    """One group of one stage: what was wanted, and what there is."""

    stage: int
    group: str
    wanted: int
    taken: int
    available: int
    replay: bool = False
    """Whether these are stage-1 rows that stage 2 repeats."""


_Groups = Mapping[int, Mapping[str, Sequence[Candidate]]]  # stage -> group -> candidates


@dataclass(slots=True)
class Selection:
    """What was chosen."""

    taken: set[str] = field(default_factory=set[str])
    outside: set[str] = field(default_factory=set[str])
    """Of the others, those whose group the mixture does not name."""
    replayed: list[str] = field(default_factory=list[str])
    """Stage-1 samples that stage 2 repeats."""
    targets: list[Target] = field(default_factory=list[Target])


def take(candidates: Iterable[Candidate], count: int, seed: int, what: str = "sample") -> list[str]:
    """Return `count` ids drawn without replacement, with probabilities that grow with the weights.

    The one-pass scheme A-Res of Efraimidis and Spirakis 2006 (Inf. Process. Lett. 97(5), 181-185): the
    largest keys u^(1/w) win. Here in its logarithm, -ln(u) / w, smallest first.

    Args:
        candidates: weights above 0.
        count: how many; all when there are fewer.
        seed: of the keys.
        what: tells draws for different ends apart.
    """
    given = list(candidates)
    if count < len(given):
        given = sorted(given, key=lambda candidate: (_key(candidate, seed, what), candidate.sample_id))[:count]
    return [candidate.sample_id for candidate in given]


def _key(candidate: Candidate, seed: int, what: str) -> float:
    uniform = (derive_seed(seed, what, candidate.sample_id) + 0.5) / 2.0**63
    return -math.log(uniform) / candidate.weight


def apportion(total: int, parts: Mapping[K, float]) -> dict[K, int]:
    """Return whole numbers in proportion to `parts` that add up to `total`: the largest remainders round up."""
    whole = math.fsum(parts.values())
    exact = {name: total * share / whole for name, share in parts.items()} if whole else dict.fromkeys(parts, 0.0)
    counts = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    by_remainder = sorted(parts, key=lambda name: (counts[name] - exact[name], name))
    for name in by_remainder[: total - sum(counts.values()) if whole else 0]:
        counts[name] += 1
    return counts


def select(
    candidates: Sequence[Candidate],
    *,
    size: int | None,
    mixture: Mixture | None,
    replay: float,
    seed: int,
) -> Selection:
    """Return which candidates are taken, and which of stage 1 are repeated in stage 2.

    Args:
        candidates: all that pass the rule, grouped as the mixture says.
        size: different samples at most; with a mixture, what its sizes are scaled to.
        mixture: target composition of the stages; None keeps that of the candidates.
        replay: share of the stage-1 samples that is repeated, where the mixture does not say.
        seed: of every draw.

    Raises:
        UsageError: a size is given, and the mixture does not say what to scale to it.
    """
    chosen = Selection()
    if mixture is None:
        _proportionally(chosen, candidates, size, seed)
    else:
        _mixed(chosen, candidates, mixture, size, seed)
    target = mixture.stage2 if mixture else None
    if target is None or target.replay is None:
        first = [c for c in candidates if c.stage == 1 and c.sample_id in chosen.taken]
        chosen.replayed = take(map(_unweighted, first), round(replay * len(first)), seed, "replay")
    return chosen


def _unweighted(candidate: Candidate) -> Candidate:
    return Candidate(candidate.sample_id, candidate.stage, candidate.group, 1.0)


def _proportionally(chosen: Selection, candidates: Sequence[Candidate], size: int | None, seed: int) -> None:
    """Take `size` of all groups together, each in proportion to its candidates."""
    groups = _grouped(candidates)
    counts = {name: len(members) for name, members in groups.items()}
    wanted = counts if size is None else apportion(min(size, len(candidates)), counts)
    for name, members in groups.items():
        chosen.taken.update(take(members, wanted[name], seed))


def _grouped(candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        groups[candidate.group].append(candidate)
    return dict(sorted(groups.items()))


def _own_rows(target: StageTarget, groups: Mapping[str, Sequence[Candidate]]) -> dict[str, float]:
    """Return the rows of each group, repeated ones aside. Sizes are kept to; where there are none, shares are."""
    if target.quotas is not None:
        return {name: float(count) for name, count in target.quotas.items()}
    assert target.shares is not None
    # groups without a sample are left to the others, which keep their proportions
    most = [len(groups[name]) / share for name, share in target.shares.items() if share and groups.get(name)]
    rows = target.size or min(most, default=0.0)
    return {name: rows * share for name, share in target.shares.items()}


def _wanted(mixture: Mixture, groups: _Groups, size: int | None) -> dict[int, dict[str, int]]:
    """Return stage -> group -> samples, for the stages that have a target; `size` of them, where it is given.

    Raises:
        UsageError: a size is given, and a stage says nothing that could be scaled to it.
    """
    targets = {stage: target for stage in (1, 2) if (target := mixture.stage(stage)) is not None}
    rows = {stage: _own_rows(target, groups[stage]) for stage, target in targets.items()}
    if size is None:
        return {stage: apportion(math.floor(math.fsum(own.values()) + 0.5), own) for stage, own in rows.items()}
    for stage, members in groups.items():
        target = mixture.stage(stage)
        if target is None and members:
            raise UsageError(
                f"--size needs a mixture that says what to take of each stage; stage{stage} has no target and would "
                "keep all that passes"
            )
        if target is not None and target.quotas is None and target.size is None:
            raise UsageError("--size needs a mixture with sizes; write `size` below each of its stages")
    counts = apportion(size, {(stage, name): count for stage, own in rows.items() for name, count in own.items()})
    return {stage: {name: counts[stage, name] for name in own} for stage, own in rows.items()}


def _mixed(chosen: Selection, candidates: Sequence[Candidate], mixture: Mixture, size: int | None, seed: int) -> None:
    """Take the samples of both stages, and those of stage 1 that stage 2 repeats."""
    groups = {stage: _grouped(c for c in candidates if c.stage == stage) for stage in (1, 2)}
    wanted = _wanted(mixture, groups, size)
    for stage, members in groups.items():
        if stage in wanted:
            _stage(chosen, stage, members, wanted[stage], seed)
        else:
            chosen.taken.update(c.sample_id for group in members.values() for c in group)
    if mixture.stage2 is None or mixture.stage2.replay is None:
        return
    taken = sum(target.taken for target in chosen.targets if target.stage == 2)
    repeatable = _grouped(_unweighted(c) for c in candidates if c.stage == 1 and c.sample_id in chosen.taken)
    for name, count in _replay_rows(mixture.stage2, repeatable, taken).items():
        members = repeatable.get(name, [])
        chosen.replayed += take(members, count, seed, "replay")
        chosen.targets.append(Target(2, name, count, min(count, len(members)), len(members), replay=True))


def _stage(
    chosen: Selection, stage: int, groups: Mapping[str, Sequence[Candidate]], wanted: Mapping[str, int], seed: int
) -> None:
    for name, members in groups.items():
        if name not in wanted:
            chosen.outside.update(c.sample_id for c in members)
    for name, count in wanted.items():
        members = groups.get(name, [])
        chosen.taken.update(take(members, count, seed))
        chosen.targets.append(Target(stage, name, count, min(count, len(members)), len(members)))


def _replay_rows(target: StageTarget, repeatable: Mapping[str, Sequence[Candidate]], taken: int) -> dict[str, int]:
    """Return the repeated rows of each group; a bare share is spread as stage 1 is.

    Args:
        target: of stage 2.
        repeatable: what stage 1 holds.
        taken: rows of stage 2 that are its own, which may be fewer than were wanted.
    """
    total = round(taken * target.replay_share / (1.0 - target.replay_share))
    if isinstance(target.replay, dict):
        return apportion(total, target.replay)
    counts = {name: float(len(members)) for name, members in repeatable.items()}
    return apportion(min(total, round(math.fsum(counts.values()))), counts)
