import threading

import pytest

from ovrl.errors import OvrlError
from ovrl.rollout.gate import Gate


def start(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_who_holds_the_gate_waits_for_the_step_and_lets_none_follow():
    gate, inside, go_on = Gate(), threading.Event(), threading.Event()
    order: list[str] = []

    def step() -> None:
        with gate.step():
            inside.set()
            go_on.wait(60)
            order.append("step")

    def hold() -> None:
        with gate.held():
            order.append("held")

    stepping = start(step)
    assert inside.wait(60)
    holding = start(hold)
    holding.join(timeout=0.1)
    assert order == []
    go_on.set()
    for thread in (stepping, holding):
        thread.join(60)
    assert order == ["step", "held"]


def test_who_holds_the_gate_comes_before_the_next_step():
    gate, held = Gate(), threading.Event()
    steps = 0

    def hold() -> None:
        with gate.held():
            held.set()

    while not held.is_set():  # steps without end, one at once after the other
        with gate.step():
            if steps == 0:
                holding = start(hold)
            steps += 1
    holding.join(60)


@pytest.mark.parametrize("way", ["pause", "held"])
def test_no_step_passes_a_shut_gate_and_all_pass_an_open_one(way: str):
    gate, passed = Gate(), threading.Event()

    def step() -> None:
        with gate.step():
            passed.set()

    if way == "pause":
        gate.pause()
        with gate.held():  # weights may change during a pause, which outlasts it
            thread = start(step)
        thread.join(timeout=0.1)
        assert not passed.is_set()
        gate.resume()
    else:
        with gate.held(), gate.held():
            thread = start(step)
            thread.join(timeout=0.1)
            assert not passed.is_set()
    assert passed.wait(60)
    thread.join(60)


def test_a_closed_gate_is_an_error_also_for_who_waits_at_it():
    gate = Gate()
    gate.pause()
    failed = threading.Event()

    def step() -> None:
        try:
            with gate.step():
                pass
        except OvrlError:
            failed.set()

    thread = start(step)
    thread.join(timeout=0.1)
    gate.close()
    assert failed.wait(60)
    thread.join(60)


def test_a_step_that_fails_opens_the_gate_again():
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.step():
        1 / 0  # noqa: B018
    with gate.held():
        pass
