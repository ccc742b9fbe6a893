import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.curate.mixture import Mixture, load, presets
from ovrl.curate.selection import Candidate, apportion, select, take
from ovrl.errors import UsageError


def candidates(**groups):
    """Return stage-2 candidates: group -> how many."""
    return [Candidate(f"{group}{i}", 2, group, 1.0) for group, count in groups.items() for i in range(count)]


def first(**groups):
    return [Candidate(f"1-{group}{i}", 1, group, 1.0) for group, count in groups.items() for i in range(count)]


def chosen(given_candidates, size=None, mixture=None, replay=0.0, seed=1):
    return select(given_candidates, size=size, mixture=mixture, replay=replay, seed=seed)


def by_group(given_candidates, taken):
    return Counter(c.group for c in given_candidates if c.sample_id in taken)


@given(st.integers(0, 40), st.integers(0, 50), st.integers(0, 5), st.randoms())
def test_a_draw_has_its_size_whatever_the_order(number, count, seed, rng):
    pool = [Candidate(f"s{i}", 2, "", 0.1 + i) for i in range(number)]
    got = take(pool, count, seed)
    assert len(set(got)) == len(got) == min(number, count)
    shuffled = rng.sample(pool, len(pool))
    assert set(take(shuffled, count, seed)) == set(got)
    if count:
        assert set(take(pool, count - 1, seed)) <= set(got)


def test_the_chance_to_be_taken_first_is_the_weight():
    """Efraimidis and Spirakis: of one draw, sample i is taken with probability w_i over the sum."""
    pool = [Candidate("a", 2, "", 1.0), Candidate("b", 2, "", 2.0), Candidate("c", 2, "", 5.0)]
    draws = 6000
    found = Counter(take(pool, 1, seed)[0] for seed in range(draws))
    for name, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
        assert abs(found[name] / draws - share) < 4 * math.sqrt(share * (1 - share) / draws)


def test_different_ends_draw_differently():
    pool = candidates(x=60)
    assert set(take(pool, 20, 1)) != set(take(pool, 20, 1, "replay")) != set(take(pool, 20, 2))


@given(st.integers(0, 200), st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 9), min_size=1))
def test_apportioned_rows_add_up_and_are_near_their_share(total, parts):
    got = apportion(total, parts)
    assert sum(got.values()) == total
    whole = sum(parts.values())
    assert all(abs(got[name] - total * share / whole) < 1 + 1e-6 for name, share in parts.items())


def test_apportioned_by_hand():
    assert apportion(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert apportion(3, {"a": 0.5, "b": 0.3, "c": 0.2}) == {"a": 1, "b": 1, "c": 1}
    assert apportion(5, {}) == {}
    assert apportion(5, {"a": 0.0}) == {"a": 0}


def test_without_size_all_are_taken():
    pool = candidates(x=3, y=2)
    got = chosen(pool)
    assert len(got.taken) == 5
    assert (got.replayed, got.targets, got.outside) == ([], [], set())


def test_groups_keep_their_proportions():
    pool = candidates(x=60, y=30, z=10)
    assert by_group(pool, chosen(pool, size=20).taken) == {"x": 12, "y": 6, "z": 2}
    assert len(chosen(pool, size=1000).taken) == 100


def test_the_choice_depends_on_the_seed_and_not_on_the_order():
    pool = candidates(x=60, y=30) + first(x=40)
    want = chosen(pool, size=30, replay=0.2)
    shuffled = random.Random(1).sample(pool, len(pool))
    got = chosen(shuffled, size=30, replay=0.2)
    assert (got.taken, sorted(got.replayed)) == (want.taken, sorted(want.replayed))
    assert chosen(pool, size=30, seed=2).taken != want.taken
    assert len(want.replayed) == round(0.2 * sum(name.startswith("1-") for name in want.taken))
    assert set(want.replayed) <= want.taken


def test_quotas_are_kept_and_shortfalls_are_told():
    mixture = Mixture.model_validate({"stage2": {"quotas": {"x": 5, "y": 5, "w": 2}}})
    pool = candidates(x=60, y=3, z=10) + first(x=4)
    got = chosen(pool, mixture=mixture)
    second = [c for c in pool if c.stage == 2]
    assert by_group(second, got.taken) == {"x": 5, "y": 3}
    assert {name[0] for name in got.outside} == {"z"}
    assert by_group(first(x=4), got.taken) == {"x": 4}  # the mixture says nothing of stage 1
    assert [(t.group, t.wanted, t.taken, t.available) for t in got.targets] == [
        ("x", 5, 5, 60),
        ("y", 5, 3, 3),
        ("w", 2, 0, 0),
    ]


def test_shares_without_a_size_take_as_much_as_they_allow():
    mixture = Mixture.model_validate({"stage2": {"shares": {"x": 0.5, "y": 0.3, "none": 0.2}}})
    pool = candidates(x=60, y=15)
    # nothing is there for a fifth of it; the others share: x 5/8, y 3/8, and y has 15 of 40
    got = chosen(pool, mixture=mixture)
    assert by_group(pool, got.taken) == {"x": 25, "y": 15}
    # 40 are four fifths of 50, of which a fifth is 10
    assert [(t.group, t.wanted, t.taken, t.available) for t in got.targets] == [
        ("x", 25, 25, 60),
        ("y", 15, 15, 15),
        ("none", 10, 0, 0),
    ]


def test_stage_2_repeats_what_the_mixture_says():
    mixture = Mixture.model_validate({"stage2": {"size": 100, "shares": {"x": 0.9}, "replay": {"g": 0.08, "h": 0.02}}})
    pool = candidates(x=200) + first(g=30, h=1)
    got = chosen(pool, mixture=mixture, replay=0.5)
    assert by_group(pool, got.taken) == {"x": 90, "g": 30, "h": 1}
    assert by_group(pool, got.replayed) == {"g": 8, "h": 1}
    assert [(t.group, t.wanted, t.taken) for t in got.targets if t.replay] == [("g", 8, 8), ("h", 2, 1)]
    spread = Mixture.model_validate({"stage2": {"size": 100, "shares": {"x": 0.9}, "replay": 0.1}})
    assert by_group(pool, chosen(pool, mixture=spread).replayed) == {"g": 10}  # 30 to 1


def test_the_published_composition():
    """19.9K and 49.2K rows, 4.4 % of stage 2 repeated; 67.0K different samples (methods.md 5.4)."""
    mixture = load("ov15")
    groups = {"grounding": 15000, "counting": 3000, "ocr": 3000, "stem": 40000, "spatial-reasoning": 5000}
    pool = first(**groups) + candidates(**groups, coding=5000)
    got = chosen(pool, mixture=mixture)
    one, two = ([c for c in pool if c.stage == stage and c.sample_id in got.taken] for stage in (1, 2))
    assert len(one) == 19900
    assert len(two) + len(got.replayed) == pytest.approx(49200, abs=2)
    assert len(got.replayed) / 49200 == pytest.approx(0.044, abs=1e-4)
    assert len(one) + len(two) == pytest.approx(67000, abs=100)
    shares = by_group(pool, {c.sample_id for c in one})
    assert {name: round(count / 19900, 3) for name, count in shares.items()} == {
        "grounding": 0.75,
        "counting": 0.141,
        "ocr": 0.109,
    }
    assert by_group(pool, {c.sample_id for c in two})["stem"] == pytest.approx(0.79 * 49200, abs=2)
    assert len(chosen(pool, mixture=mixture, size=6700).taken) == pytest.approx(6700, abs=3)


def test_presets_are_valid():
    assert "ov15" in presets()
    for name in presets():
        load(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("by: colour\nstage1: {quotas: {a: 1}}", "by"),
        ("stage3: {quotas: {a: 1}}", "stage3"),
        ("by: source", "neither stage1 nor stage2"),
        ("stage1: {size: 5}", "stage1: give either shares or quotas"),
        ("stage1: {size: 5, quotas: {a: 1}}", "quotas need no size"),
        ("stage1: {shares: {a: 0.5, b: 0.2}}", "add up to 1, not 0.7"),
        ("stage1: {shares: {a: 1.0}, replay: 0.0}", "stage1 has nothing to replay"),
        ("stage2: {quotas: {a: 5}, replay: 1.0}", "replay must leave room"),
        ("stage2: {quotas: {a: -5}}", "quotas"),
        ("[1, 2", "not YAML"),
        ("just words", "valid"),
    ],
)
def test_a_wrong_mixture_is_named(tmp_path, text, message):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load(str(tmp_path / "m.yaml"))


def test_an_unknown_mixture_names_the_presets():
    with pytest.raises(UsageError, match="ov15"):
        load("ov16")


def test_a_size_needs_sizes_to_scale():
    mixture = Mixture.model_validate({"stage2": {"shares": {"x": 1.0}}})
    with pytest.raises(UsageError, match="needs a mixture with sizes"):
        chosen(candidates(x=5), mixture=mixture, size=3)


def test_a_small_pool_is_not_made_up_of_repeats():
    """Of 1000 rows wanted 10 % are repeats; with 18 rows of its own, stage 2 repeats 2."""
    replays = ({"g": 0.05, "h": 0.05}, 0.1)
    for replay in replays:
        mixture = Mixture.model_validate({"stage2": {"size": 1000, "shares": {"x": 0.9}, "replay": replay}})
        pool = candidates(x=18) + first(g=300, h=300)
        assert len(chosen(pool, mixture=mixture).replayed) == 2
    quotas = Mixture.model_validate({"stage2": {"quotas": {"x": 900}, "replay": 0.1}})
    assert len(chosen(candidates(x=18) + first(g=300), mixture=quotas).replayed) == 2


def test_a_size_is_shared_out_among_quotas_of_both_stages():
    ones = Mixture.model_validate({f"stage{n}": {"quotas": {"a": 1, "b": 1, "c": 1}} for n in (1, 2)})
    pool = first(a=5, b=5, c=5) + candidates(a=5, b=5, c=5)
    for size in (1, 3, 4, 6):
        assert len(chosen(pool, mixture=ones, size=size).taken) == size
    mixed = Mixture.model_validate(
        {"stage1": {"quotas": {"a": 30}}, "stage2": {"size": 20, "shares": {"a": 0.5}, "replay": 0.5}}
    )
    got = chosen(first(a=50) + candidates(a=50), mixture=mixed, size=8)  # 30 to 10
    assert Counter(name.startswith("1-") for name in got.taken) == {True: 6, False: 2}
    assert len(got.replayed) == 2


def test_a_size_needs_a_target_for_each_stage_that_has_samples():
    mixture = Mixture.model_validate({"stage1": {"quotas": {"a": 5}}})
    with pytest.raises(UsageError, match="stage2 has no target"):
        chosen(first(a=9) + candidates(x=40), mixture=mixture, size=4)
    assert len(chosen(first(a=9), mixture=mixture, size=4).taken) == 4
