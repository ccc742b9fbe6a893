"""How much a server is given, as its queue tells."""

from collections import Counter

from ovrl.rollout.sglang.client import Client
from ovrl.rollout.sglang.control import Control, Limits, Load
from ovrl.rollout.sglang.server import Server


def server(most: int = 0) -> Server:
    made = Server(Control(Client("http://nowhere"), Limits()), Counter())
    made.expect(Load(0, 0, most))
    return made


def test_a_server_that_says_how_many_it_runs_is_given_those_and_a_little():
    one = server(64)
    one.look(Load(64, 0, 64))
    assert one.window == 64
    for _ in range(5):
        one.look(Load(64, 8, 64))  # a little may wait
    assert one.window == 64


def test_a_queue_that_stays_makes_the_window_small_step_by_step_and_a_burst_does_not():
    one = server(64)
    one.look(Load(0, 60, 64))
    assert one.window == 64
    one.look(Load(64, 0, 64))
    one.look(Load(10, 50, 64))  # memory for ten
    assert one.window == 64
    seen: list[int] = []
    for _ in range(4):
        one.look(Load(10, 50, 64))
        seen.append(one.window)
    assert seen == [32, 16, 11, 11]
