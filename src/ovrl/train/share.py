"""Who computes what: groups are shared among the ranks, and a rank's share is cut into micro-batches.

Pure functions of lengths, so that every rank and every resumed run finds the same.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Packing = Literal["padded", "packed", "shared", "cheaper"]
"""How completions stand in rows, see `layout`; `cheaper`: shared or padded, whichever costs a group less."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Completions of one group that are read behind one copy of their prompt."""

    group: int
    items: tuple[int, ...]
    """Numbers of the completions."""
    tokens: int
    """Of the prompt and of all of them."""


@dataclass(frozen=True, slots=True)
class Part:
    """One micro-batch."""

    rows: tuple[tuple[Unit, ...], ...]

    @property
    def items(self) -> list[int]:
        """Numbers of the completions, in the order in which they stand."""
        return [item for row in self.rows for unit in row for item in unit.items]


def cost(tokens: float, width: int, *, masked: bool = False) -> float:
    """Return what a row costs, in tokens of a model without attention.

    A layer spends about 24 width^2 operations on a token outside of attention and 4 width on each token that it
    looks at (arXiv:2001.08361, table 1): all before it, or with a mask all of the row.

    Args:
        tokens: of the row.
        width: of the language model.
        masked: the row has a mask.
    """
    return tokens + tokens**2 / (6 * width) * (1 if masked else 0.5)


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Completions of one group that go to one rank."""

    total: float
    """What they cost with their prompt."""
    first: float
    """What the prompt costs."""
    members: list[int]


def split(costs: Mapping[int, Sequence[float]], ranks: int) -> list[list[int]]:
    """Return the completions of each rank, so that the dearest share is cheap: the longest first, to the least loaded.

    The completions of a group stay together, so that its prompt is encoded once; a group that is dearer than a fair
    share is halved. (Graham's LPT rule is within 4/3 of the best: doi:10.1137/0117039.)

    Args:
        costs: by group, what its prompt costs and then what each completion adds, by number of the completion in
            the order of the groups.
        ranks: at least 1.
    """
    prices: list[float] = []
    parts: list[_Bundle] = []
    for first, *own in costs.values():
        parts.append(_Bundle(first + sum(own), first, list(range(len(prices), len(prices) + len(own)))))
        prices += own
    while True:
        dearest = max(parts, key=lambda part: part.total)
        if dearest.total * ranks <= sum(part.total for part in parts) or len(dearest.members) < 2:
            break
        parts.remove(dearest)
        middle = len(dearest.members) // 2
        for half in (dearest.members[:middle], dearest.members[middle:]):
            parts.append(_Bundle(dearest.first + sum(prices[i] for i in half), dearest.first, half))
    loads, shares = [0.0] * ranks, [list[int]() for _ in range(ranks)]
    for part in sorted(parts, key=lambda part: (-part.total, part.members)):
        rank = loads.index(min(loads))
        loads[rank] += part.total
        shares[rank] += part.members
    return [sorted(share) for share in shares]


def cut(
    groups: Mapping[int, int],
    prompts: Mapping[int, int],
    lengths: Mapping[int, int],
    *,
    packing: Packing,
    budget: int,
    width: int,
) -> list[Part]:
    """Return the micro-batches of a share; each completion stands in exactly one.

    Args:
        groups: the group of each completion.
        prompts: tokens of the prompt of each group.
        lengths: tokens of each completion.
        packing: how they stand in rows.
        budget: tokens of a micro-batch, padding included; what is longer by itself gets a micro-batch of its own.
        width: of the language model.
    """
    members: defaultdict[int, list[int]] = defaultdict(list)
    for item, group in groups.items():
        members[group].append(item)
    units: list[Unit] = []
    for group, own in members.items():
        apart = [Unit(group, (item,), prompts[group] + lengths[item]) for item in own]
        together = _shared(group, own, prompts[group], lengths, budget)
        if packing == "cheaper":
            dear = sum(cost(unit.tokens, width, masked=True) for unit in together)
            units += together if dear < sum(cost(unit.tokens, width) for unit in apart) else apart
        else:
            units += together if packing == "shared" else apart
    units.sort(key=lambda unit: (unit.tokens, unit.items))
    return _packed(units, budget) if packing == "packed" else _padded(units, budget)


def _shared(group: int, own: Sequence[int], prompt: int, lengths: Mapping[int, int], budget: int) -> list[Unit]:
    """Return the group in as few units as the budget allows."""
    units: list[Unit] = []
    chosen: list[int] = []
    tokens = prompt
    for item in own:
        if chosen and tokens + lengths[item] > budget:
            units.append(Unit(group, tuple(chosen), tokens))
            chosen, tokens = [], prompt
        chosen.append(item)
        tokens += lengths[item]
    return [*units, Unit(group, tuple(chosen), tokens)]


def _padded(units: Sequence[Unit], budget: int) -> list[Part]:
    """Return one unit in a row, neighbours in length together."""
    parts: list[list[Unit]] = [[]]
    for unit in units:
        if parts[-1] and (len(parts[-1]) + 1) * unit.tokens > budget:
            parts.append([])
        parts[-1].append(unit)
    return [Part(tuple((unit,) for unit in part)) for part in parts if part]


def _packed(units: Sequence[Unit], budget: int) -> list[Part]:
    """Return all units of a micro-batch in one row: the longest first, into the first that has room."""
    parts: list[list[Unit]] = []
    for unit in reversed(units):
        room = (part for part in parts if sum(other.tokens for other in part) + unit.tokens <= budget)
        part = next(room, None)
        if part is None:
            parts.append(part := [])
        part.append(unit)
    return [Part((tuple(part),)) for part in parts]
