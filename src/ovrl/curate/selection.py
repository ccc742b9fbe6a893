"""Choose among the samples that pass the rule: by weight to a size, by group, or to a target composition.

Each sample draws a key of its own from (seed, id), so the choice is the same for any order of the input and
any number of workers, and within a group a smaller draw is part of a larger one.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ovrl.curate.mixture import Mixture, StageTarget
from ovrl.errors import UsageError
from ovrl.records import derive_seed


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


def apportion(total: int, parts: Mapping[str, float]) -> dict[str, int]:
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
        size: samples at most; with a mixture, what its sizes are scaled to.
        mixture: target composition of the stages; None keeps that of the candidates.
        replay: share of the stage-1 samples that is repeated, where the mixture does not say.
        seed: of every draw.

    Raises:
        UsageError: a size is given, and the mixture has none to scale.
    """
    chosen = Selection()
    if mixture is None:
        _proportionally(chosen, candidates, size, seed)
    else:
        scale = _scale(mixture, size)
        for stage in (1, 2):
            _stage(chosen, candidates, mixture, stage, scale, seed)
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


def _scale(mixture: Mixture, size: int | None) -> float:
    """Return the factor that makes the mixture hold `size` different samples."""
    if size is None:
        return 1.0
    own = 0.0
    for target in (mixture.stage1, mixture.stage2):
        if target is not None and target.quotas is not None:
            own += sum(target.quotas.values())
        elif target is not None and target.size is not None:
            own += target.size * (1.0 - target.replay_share)
        elif target is not None:
            raise UsageError("--size needs a mixture with sizes; write `size` below each of its stages")
    return size / own if own else 0.0


def _stage(
    chosen: Selection, candidates: Sequence[Candidate], mixture: Mixture, stage: int, scale: float, seed: int
) -> None:
    """Take the samples of one stage, and for stage 2 those of stage 1 that it repeats."""
    target = mixture.stage(stage)
    groups = _grouped(c for c in candidates if c.stage == stage)
    if target is None:
        chosen.taken.update(c.sample_id for members in groups.values() for c in members)
        return
    repeatable = _grouped(_unweighted(c) for c in candidates if c.stage == 1 and c.sample_id in chosen.taken)
    wanted, replay = _wanted(target, groups, repeatable, scale)
    for name, members in groups.items():
        if name not in wanted:
            chosen.outside.update(c.sample_id for c in members)
    for name, count in wanted.items():
        members = groups.get(name, [])
        chosen.taken.update(take(members, count, seed))
        chosen.targets.append(Target(stage, name, count, min(count, len(members)), len(members)))
    if target.replay is not None:
        for name, count in replay.items():
            members = repeatable.get(name, [])
            chosen.replayed += take(members, count, seed, "replay")
            chosen.targets.append(Target(stage, name, count, min(count, len(members)), len(members), replay=True))


def _wanted(
    target: StageTarget,
    groups: Mapping[str, Sequence[Candidate]],
    repeatable: Mapping[str, Sequence[Candidate]],
    scale: float,
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the rows of each group, own and repeated. Sizes are kept to; where there are none, shares are."""
    if target.quotas is not None:
        own = {name: round(count * scale) for name, count in target.quotas.items()}
        rows = sum(own.values()) / (1.0 - target.replay_share)
        return own, _replay_rows(target, repeatable, rows)
    assert target.shares is not None
    if target.size is not None:
        shares, rows = target.shares, target.size * scale
    else:
        shares = {name: share for name, share in target.shares.items() if share and groups.get(name)}
        whole = sum(shares.values()) / (1.0 - target.replay_share)  # groups without a sample are made up for
        shares = {name: share / whole for name, share in shares.items()}
        rows = min((len(groups[name]) / share for name, share in shares.items()), default=0.0)
    own = apportion(math.floor(rows * math.fsum(shares.values()) + 0.5), shares)
    return own, _replay_rows(target, repeatable, rows)


def _replay_rows(target: StageTarget, repeatable: Mapping[str, Sequence[Candidate]], rows: float) -> dict[str, int]:
    """Return the repeated rows of each group; a bare share is spread as stage 1 is."""
    total = round(rows * target.replay_share)
    if isinstance(target.replay, dict):
        return apportion(total, target.replay)
    counts = Counter({name: float(len(members)) for name, members in repeatable.items()})
    return apportion(min(total, round(counts.total())), counts)
