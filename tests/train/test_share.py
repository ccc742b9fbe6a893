"""Who computes what: pure functions of lengths."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.train.share import cost, cut, split

GROUPS = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 2}
PROMPTS = {0: 10, 1: 40, 2: 22}
LENGTHS = dict(enumerate([3, 30, 7, 7, 12, 1, 25]))


@pytest.mark.parametrize("packing", ["padded", "shared", "packed", "cheaper"])
@pytest.mark.parametrize("budget", [1, 50, 120, 10_000])
def test_micro_batches_hold_every_completion_once_and_keep_the_budget(packing, budget):
    parts = cut(GROUPS, PROMPTS, LENGTHS, packing=packing, budget=budget, width=64)
    assert sorted(item for part in parts for item in part.items) == list(GROUPS)
    for part in parts:
        rows = [sum(unit.tokens for unit in row) for row in part.rows]
        assert len(part.items) == 1 or len(rows) * max(rows) <= budget
        for unit in (unit for row in part.rows for unit in row):
            assert unit.tokens == PROMPTS[unit.group] + sum(LENGTHS[item] for item in unit.items)
            assert {GROUPS[item] for item in unit.items} == {unit.group}


def test_packings_are_what_they_are_called():
    def rows(packing):
        parts = cut(GROUPS, PROMPTS, LENGTHS, packing=packing, budget=10_000, width=64)
        return [sorted(sorted(unit.items) for unit in row) for part in parts for row in part.rows]

    assert sorted(rows("padded")) == [[[i]] for i in range(7)]
    assert sorted(rows("shared")) == [[[0, 1, 2]], [[3, 4]], [[5, 6]]]
    assert rows("packed") == [[[i] for i in range(7)]]


def test_the_cheaper_packing_shares_long_prompts_and_parts_long_replies():
    groups = dict.fromkeys(range(4), 0)
    long_prompt = cut(groups, {0: 500}, dict.fromkeys(range(4), 10), packing="cheaper", budget=10**6, width=512)
    long_reply = cut(groups, {0: 10}, dict.fromkeys(range(4), 4000), packing="cheaper", budget=10**6, width=512)
    assert [len(part.rows) for part in long_prompt] == [1]
    assert [len(part.rows) for part in long_reply] == [4]


def test_looking_back_costs_more_in_a_masked_row():
    # 24 d^2 n operations outside of attention; 4 d n^2 / 2 in it, where a token looks at half of the row.
    assert cost(600, 100) == pytest.approx(600 * (24 * 100**2 + 4 * 100 * 300) / (24 * 100**2))
    assert cost(600, 100, masked=True) == pytest.approx(600 * (24 * 100**2 + 4 * 100 * 600) / (24 * 100**2))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 2**32))
def test_every_completion_goes_to_one_rank_and_no_load_exceeds_the_bound(sizes, ranks, seed):
    rng = random.Random(seed)
    costs = {g: [float(rng.randint(0, 50)), *(float(rng.randint(1, 100)) for _ in range(n))]
             for g, n in enumerate(sizes)}  # fmt: skip
    shares = split(costs, ranks)
    assert sorted(item for share in shares for item in share) == list(range(sum(sizes)))
    assert shares == split(costs, ranks)
    owner = [g for g, n in enumerate(sizes) for _ in range(n)]
    prices = [price for own in costs.values() for price in own[1:]]
    loads = [sum(prices[i] for i in share) + sum(costs[g][0] for g in {owner[i] for i in share}) for share in shares]
    # Whole groups, or halves of the dearest: a rank is at most one bundle above the mean, and a bundle that is above
    # the mean itself is one completion.
    mean = sum(loads) / ranks
    single = max(own[0] + price for own in costs.values() for price in own[1:])
    assert max(loads) <= mean + max(mean, single) + 1e-9


def test_a_group_stays_together_unless_it_is_dearer_than_a_fair_share():
    shares = split({group: [10.0, *[5.0] * 4] for group in range(4)}, 2)
    assert [len(share) for share in shares] == [8, 8]
    assert all({item // 4 for item in share} == {share[0] // 4, share[-1] // 4} for share in shares)
    assert split({0: [10.0, 5.0, 5.0, 5.0, 5.0]}, 2) in ([[0, 1], [2, 3]], [[2, 3], [0, 1]])
    assert [len(share) for share in split({0: [1.0, 1.0]}, 3)].count(0) == 2
