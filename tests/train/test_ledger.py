"""The ledger keeps its promises I1-I10 in any order of events: all orders of small runs, random ones of larger runs.

I1 capacity, I2 work under way, I3 whole batches of finished groups, I4 hard age, I5 deadlines that can be kept, I7 each
group in one state, I8 no dead end, I9 recovery by folding the events, I10 prompt order at eta = 0. I6 (versions along a
completion) is the engines' part, and tested with them.
"""

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ovrl.train.ledger import Ledger, adapted, fold, violations


def copy(ledger: Ledger) -> Ledger:
    return dataclasses.replace(ledger, running=dict(ledger.running), finished=dict(ledger.finished))


def key(ledger: Ledger) -> tuple:
    """What decides on the future of a run, whatever came before."""
    v = ledger.version
    return (
        tuple(sorted(v - u for u in ledger.running.values())),
        tuple(sorted(v - u for u in ledger.finished.values())),
        ledger.occupied - ledger.empty - v * ledger.groups_per_step,
        ledger.in_training is None,
        ledger.lead,
        min(ledger.rejected_since, (ledger.refills + 1) * ledger.groups_per_step) if ledger.refills is not None else 0,
    )


def one_of_each(stamps: dict[int, int]) -> dict[int, int]:
    """Return one group for each version: the others would do the same."""
    return {version: gid for gid, version in stamps.items()}


def successors(ledger: Ledger, *, rejecting: bool) -> Iterator[Ledger]:
    """Yield the ledger after every event that may come."""
    b, eta, v = ledger.groups_per_step, ledger.eta, ledger.version

    def after(change: str, *arguments: object) -> Ledger:
        changed = copy(ledger)
        getattr(changed, change)(*arguments)
        return changed

    if ledger.room():
        yield after("plan")
    for started, gid in one_of_each(ledger.running).items():
        for oldest in range(started, v + 1):
            yield after("finish", gid, oldest)
    if rejecting:
        for stamps in (ledger.running, ledger.finished):
            for gid in one_of_each(stamps).values():
                yield after("reject", gid, "any")
    if ledger.running:
        yield after("restart")
    if (gids := ledger.pick()) is not None:
        yield after("take", gids)
    if ledger.in_training is not None:
        for lead in {0, 1, eta * b}:
            yield after("publish", lead)


def search(first: Ledger, *, rejecting: bool = True) -> int:
    """Visit every state that can be reached, and return how many there are."""
    seen, waiting = {key(first)}, [first]
    while waiting:
        ledger = waiting.pop()
        assert violations(ledger) == [], ledger
        if not ledger.running and not ledger.room() and ledger.in_training is None:
            assert ledger.pick() is not None, f"a dead end: {ledger}"
        for found in successors(ledger, rejecting=rejecting):
            if (state := key(found)) not in seen:
                seen.add(state)
                waiting.append(found)
    return len(seen)


@pytest.mark.parametrize(("b", "eta"), [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)])
def test_no_order_of_events_breaks_a_promise(b: int, eta: int):
    assert search(Ledger(b, eta, lead=eta * b)) > 1


@pytest.mark.parametrize(("b", "eta", "refills"), [(1, 0, 0), (1, 1, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1), (1, 2, 1)])
def test_no_order_breaks_one_when_prompts_run_out(b: int, eta: int, refills: int):
    assert search(Ledger(b, eta, lead=eta * b, refills=refills)) > 1


class OldestFinishedFirst(Ledger):
    """The original's rule: the same admission, and whatever is finished is trained in the order of its start."""

    def pick(self) -> list[int] | None:
        if self.in_training is not None or len(self.finished) < self.groups_per_step:
            return None
        return sorted(self.finished)[: self.groups_per_step]


@pytest.mark.parametrize(("b", "eta"), [(1, 1), (2, 1), (2, 2)])
def test_the_search_finds_that_the_original_rule_bounds_no_age(b: int, eta: int):
    with pytest.raises(AssertionError, match=f"versions old; at most {eta}|I4|I5"):
        search(OldestFinishedFirst(b, eta, lead=eta * b), rejecting=False)


def test_an_overtaken_group_ages_without_bound_under_the_original_rule_and_is_waited_for_under_ours():
    """B = 1, eta = 1: group 0 is slow, and every later one overtakes it."""

    def overtake(ledger: Ledger) -> tuple[int, Ledger]:
        slow, fast = ledger.plan(), ledger.plan()
        ledger.finish(fast, 0)
        assert ledger.pick() == [fast]
        ledger.take([fast])
        ledger.publish(1)
        ledger.finish(ledger.plan(), 1)
        return slow, ledger

    _, theirs = overtake(OldestFinishedFirst(1, 1, lead=1))
    assert theirs.pick() == [2]
    slow, ours = overtake(Ledger(1, 1, lead=1))
    assert ours.pick() is None, "at step 2 the slow group would be 2 steps behind"
    ours.finish(slow, 0)
    assert ours.pick() == [slow]


def test_a_group_that_is_started_again_has_the_time_of_a_new_one():
    ledger = Ledger(1, 1, lead=1)
    slow, fast = ledger.plan(), ledger.plan()
    ledger.finish(fast, 0)
    ledger.take([fast])
    ledger.publish(1)
    ledger.restart()
    ledger.finish(ledger.plan(), 1)
    assert ledger.pick() == [2], "group 0 can wait: its tokens will be of version 1"
    ledger.finish(slow, 1)


def test_one_batch_at_a_time_when_eta_is_zero():
    ledger = Ledger(3)
    assert ([ledger.plan() for _ in range(ledger.room())], ledger.room()) == ([0, 1, 2], 0)
    for gid in (2, 0):
        ledger.finish(gid, 0)
        assert ledger.pick() is None
    ledger.finish(1, 0)
    assert ledger.pick() == [0, 1, 2]
    ledger.take([0, 1, 2])
    assert ledger.room() == 0, "the next batch waits for the weights of this one"
    ledger.publish(0)
    assert ledger.room() == 3


def test_the_run_ends_with_nothing_under_way():
    ledger = Ledger(2, 3, steps=2, lead=6)
    assert [ledger.plan() for _ in range(ledger.room())] == [0, 1, 2, 3]


def test_a_rejected_group_is_replaced_until_a_step_has_used_its_refills():
    ledger = Ledger(2, refills=1)
    for _ in range(2):
        ledger.reject(ledger.plan(), "zero_variance")
    assert (ledger.room(), ledger.empty) == (2, 0)
    ledger.reject(ledger.plan(), "zero_variance")
    assert (ledger.room(), ledger.empty) == (1, 1)
    ledger.finish(ledger.plan(), 0)
    assert ledger.pick() == [3], "half a batch is better than none"
    ledger.take([3])
    ledger.publish(0)
    assert (ledger.room(), ledger.empty, ledger.surrendered) == (2, 0, 1), "an empty place is not made up for"


def test_a_group_cannot_be_decided_on_twice():
    ledger = Ledger(1, 1, lead=1)
    gid = ledger.plan()
    ledger.finish(gid, 0)
    ledger.take([gid])
    for change in (lambda: ledger.finish(gid, 0), lambda: ledger.reject(gid, "late"), lambda: ledger.publish(0) or
                   ledger.take([gid])):  # fmt: skip
        with pytest.raises(KeyError):
            change()


def test_the_lead_follows_who_waits():
    ledger = Ledger(8, 2, lead=4)
    assert adapted(ledger, waited=0.5, spare=0) == 6
    assert adapted(ledger, waited=0.0, spare=3) == 4
    assert adapted(ledger, waited=0.0, spare=4) == 2
    ledger.lead = 16
    assert adapted(ledger, waited=0.5, spare=9) == 16, "eta is the ceiling"
    ledger.lead = 2
    assert adapted(ledger, waited=0.0, spare=9) == 2, "without any lead nothing would overlap"
    assert adapted(Ledger(8, 0), waited=1.0, spare=0) == 0


class Runs(RuleBasedStateMachine):
    """Random orders of events, with the books kept a second time by plain sets."""

    @initialize(b=st.integers(1, 5), eta=st.integers(0, 4), refills=st.sampled_from([None, 0, 1, 3]))
    def begin(self, b: int, eta: int, refills: int | None):
        self.first = Ledger(b, eta, lead=eta * b, refills=refills)
        self.ledger = copy(self.first)
        self.events: list[dict] = []
        self.open: dict[int, int] = {}
        self.trained: list[int] = []
        self.rejected: set[int] = set()

    def note(self, name: str, **values: object) -> None:
        event = {"event": name, **values}
        self.events.append(event)
        self.ledger.apply(event)

    @precondition(lambda self: self.ledger.room() > 0)
    @rule(count=st.integers(1, 8))
    def plan(self, count: int):
        for _ in range(min(count, self.ledger.room())):
            gid = self.ledger.planned
            self.open[gid] = self.ledger.version
            self.note("plan", gid=gid, row=0)

    @precondition(lambda self: self.ledger.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject):
        for gid in data.draw(st.lists(st.sampled_from(sorted(self.ledger.running)), min_size=1, unique=True)):
            oldest = data.draw(st.integers(self.open[gid], self.ledger.version))
            self.open[gid] = oldest
            self.note("done", gid=gid, oldest=oldest)

    @precondition(lambda self: self.ledger.running or self.ledger.finished)
    @rule(data=st.data())
    def reject(self, data: st.DataObject):
        gid = data.draw(st.sampled_from(sorted({**self.ledger.running, **self.ledger.finished})))
        del self.open[gid]
        self.rejected.add(gid)
        self.note("reject", gid=gid, reason="any")

    @rule()
    def restart(self):
        for gid in self.ledger.running:
            self.open[gid] = self.ledger.version
        self.note("restart", step=self.ledger.version)

    @precondition(lambda self: self.ledger.pick() is not None)
    @rule()
    def take(self):
        b, eta, version, empty = self.ledger.groups_per_step, self.ledger.eta, self.ledger.version, self.ledger.empty
        gids = self.ledger.pick()
        assert gids is not None
        assert b - empty <= len(set(gids)) == len(gids) <= b
        assert all(0 <= version - self.open.pop(gid) <= eta for gid in gids), "I4"
        if not eta:
            assert gids == sorted(gids)
            assert not self.trained or gids[:1] > self.trained[-1:], "I10: prompt order"
        self.trained += gids
        self.note("take", step=version, gids=gids)

    @precondition(lambda self: self.ledger.in_training is not None)
    @rule(waited=st.sampled_from([0.0, 0.5]), spare=st.integers(0, 9))
    def publish(self, waited: float, spare: int):
        lead = adapted(self.ledger, waited=waited, spare=spare)
        self.note("publish", version=self.ledger.version + 1, lead=lead)

    @invariant()
    def promises(self):
        if not hasattr(self, "ledger"):
            return
        assert violations(self.ledger) == []
        under_way = set(self.ledger.running) | set(self.ledger.finished)
        assert under_way == set(self.open)
        assert sorted([*under_way, *self.trained, *self.rejected]) == list(range(self.ledger.planned)), "I7"
        assert fold(copy(self.first), self.events) == self.ledger, "I9"

    def teardown(self):
        """I8: from wherever we are, finishing what runs brings step after step."""
        if not hasattr(self, "ledger"):
            return
        for _ in range(self.ledger.eta + 2):
            if self.ledger.in_training is not None:
                self.ledger.publish(self.ledger.lead)
            while self.ledger.room():
                self.ledger.plan()
            for gid in list(self.ledger.running):
                self.ledger.finish(gid, self.ledger.running[gid])
            gids = self.ledger.pick()
            assert gids is not None
            self.ledger.take(gids)


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
