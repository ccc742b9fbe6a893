"""The ledger is checked as a state machine: any legal order of events keeps its promises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrl.train.ledger import Ledger


def test_admits_exactly_one_batch_at_a_time_when_eta_is_zero():
    ledger = Ledger(groups_per_step=3)
    assert ledger.room() == 3
    gids = [ledger.admit() for _ in range(3)]
    assert (gids, ledger.room()) == ([0, 1, 2], 0)


def test_a_rejected_group_gives_its_place_back():
    ledger = Ledger(groups_per_step=2)
    first, second = ledger.admit(), ledger.admit()
    ledger.reject(first, "zero_variance")
    ledger.finish(second, 0)
    assert ledger.room() == 1
    ledger.reject(second, "unscored")
    assert (ledger.room(), dict(ledger.reasons)) == (2, {"zero_variance": 1, "unscored": 1})


def test_a_token_older_than_the_bound_is_refused():
    ledger = Ledger(groups_per_step=1)
    ledger.version = 2
    ledger.admitted = 2
    ledger.finish(ledger.admit(), version_oldest=1)
    with pytest.raises(AssertionError, match="1 versions old; at most 0"):
        ledger.take()


def test_a_token_from_the_future_is_refused():
    ledger = Ledger(groups_per_step=1)
    ledger.finish(ledger.admit(), version_oldest=1)
    with pytest.raises(AssertionError, match="-1 versions old"):
        ledger.take()


def test_a_higher_ceiling_admits_ahead_and_accepts_older_tokens():
    ledger = Ledger(groups_per_step=2, eta=1)
    gids = [ledger.admit() for _ in range(ledger.room())]
    assert len(gids) == 4
    for gid in gids:
        ledger.finish(gid, 0)
    assert ledger.take() == [0, 1]
    ledger.published()
    assert ledger.take() == [2, 3]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), per_step=st.integers(1, 5), steps=st.integers(1, 4))
def test_every_group_is_trained_once_or_rejected_once_with_a_reason(data: st.DataObject, per_step: int, steps: int):
    ledger = Ledger(per_step)
    taken: list[int] = []
    rejected: list[int] = []
    for step in range(steps):
        for _ in range(data.draw(st.integers(1, 3), label="waves")):
            for gid in [ledger.admit() for _ in range(ledger.room())]:
                if data.draw(st.booleans(), label=f"reject {gid}"):
                    ledger.reject(gid, "zero_variance")
                    rejected.append(gid)
                else:
                    ledger.finish(gid, step)
        ledger.surrender()
        assert ledger.room() == 0
        batch = ledger.take()
        assert len(batch) <= per_step
        taken += batch
        ledger.published()
        again = Ledger.restored(per_step, ledger.counts())
        assert again == ledger, "a checkpoint between two steps loses nothing"
    assert sorted(taken + rejected) == list(range(ledger.admitted))
    assert ledger.version == steps
    assert ledger.room() == per_step, "an empty place of one step is not made up for in the next"


def test_counts_cannot_be_taken_in_the_middle_of_a_step():
    ledger = Ledger(groups_per_step=1)
    ledger.admit()
    with pytest.raises(AssertionError, match="under way"):
        ledger.counts()
