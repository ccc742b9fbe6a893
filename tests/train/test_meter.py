import pytest

from ovrl.train.meter import Meter, Overlap, makespan


@pytest.mark.parametrize(
    ("lengths", "slots", "steps"),
    [([3, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4), ([5], 8, 5), ([], 4, 0), ([2] * 6, 3, 4)],
)
def test_completions_enter_slots_in_order(lengths: list[int], slots: int, steps: int):
    assert makespan(lengths, slots) == steps


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_synchronous_step():
    """Two slots and completions of 30, 10 and 20 tokens, a token a second: 30 s, while slots are all busy for 30 s."""
    clock = Clock()
    meter = Meter(clock, slots=2)
    meter.begin()
    meter.started(0, 3)
    for at, tokens in ((10, 10), (30, 30), (30, 20)):
        clock.time = at
        meter.sampled(0, tokens)
    meter.hungry()
    clock.time = 45
    found = meter.step({0: [30, 10, 20]}, train=10.0, publish=5.0, eta=0)
    assert (found.lasted, found.engine_idle) == (45, 15)
    assert found.work == pytest.approx(30), "60 tokens, 2 a second"
    assert found.sigma == pytest.approx(1.0)
    assert found.efficiency == pytest.approx((30 + 5) / 45)


def test_what_a_step_could_have_been():
    found = Overlap(lasted=15.0, engine_idle=0.0, work=10.0, sigma=2.1, train=10.0, publish=0.5, eta=4)
    assert found.bound == pytest.approx((21 + 10 + 0.5) / 10.5)
    assert found.speedup == pytest.approx(31.5 / 15)
    assert found.efficiency == pytest.approx(10.5 / 15)
    assert (found.train_ratio, found.publish_ratio) == (1.0, 0.05)
    assert Overlap(15.0, 0.0, 10.0, 2.1, 10.0, 0.5, eta=1).bound == 2.0, "no more than eta + 1"
    assert Overlap(15.0, 0.0, None, 1.0, 10.0, 0.5, eta=1).bound is None


def test_tokens_are_counted_while_the_engine_is_full():
    """A completion that decodes half of its time beside free slots counts half."""
    clock = Clock()
    meter = Meter(clock)
    meter.begin()
    meter.started(0, 1)
    clock.time = 10
    meter.hungry()
    clock.time = 20
    meter.sampled(0, 40)
    found = meter.step({0: [40]}, train=1.0, publish=0.0, eta=1)
    assert found.work == pytest.approx(20), "20 tokens in 10 full seconds: 2 a second"
    meter.started(1, 2)
    meter.dropped(1)
    assert meter._under_way == 0
