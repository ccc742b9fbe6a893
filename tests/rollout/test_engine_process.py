"""What only processes can show, beyond the contract of all engines: that they die, and that nothing is lost."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engines import NEW, PROMPTS, SAMPLES, answers, ask, collect, group, load_policy, make_model, save_policy, tokens
from ovrl.errors import OvrlError, UsageError
from ovrl.rollout.engine import Generation, Request, Sampling
from ovrl.rollout.engine_process import EngineProcess
from ovrl.rollout.policy import Policy
from ovrl.rollout.settings import EngineSettings
from ovrl.rollout.transformers_engine import TransformersEngine, load_engine

Start = Callable[..., EngineProcess]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("process")
    return save_policy(load_policy(make_model(folder / "tiny", "qwen2_5_vl")), folder / "saved")


@pytest.fixture
def start(saved: Path) -> Iterator[Start]:
    made: list[EngineProcess] = []

    def start(engine: str | None = None, processes: int = 1, **options: Any) -> EngineProcess:
        settings = EngineSettings(device="cpu", batch_size=4, threads=1, processes=processes)
        given = {} if engine is None else {"engine": f"engines:{engine}"}
        made.append(EngineProcess(str(saved), settings, **given, **options))
        return made[-1]

    yield start
    for engine in made:
        engine.close()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def many(count: int) -> Iterator[Request]:
    names = list(SAMPLES)
    for number in range(count):
        name = names[number % len(names)]
        seeds = {k: 100 * number + k for k in range(5)}
        yield Request(id=f"{number}", prompt=PROMPTS[name], seeds=seeds, sampling=Sampling(max_new_tokens=NEW))


def test_twenty_kills_at_random_moments_lose_nothing_and_double_nothing(start: Start, saved: Path):
    whole = tokens(answers(TransformersEngine(Policy.load(str(saved), device="cpu"), batch_size=16), *many(40)))
    engine = start(processes=2)
    chance = random.Random(5)
    kills, made = 0, list[Any]()

    def requests() -> Iterator[Request]:
        """The same again, until there were kills enough."""
        for round_ in range(1000):
            for one in many(40):
                yield Request(id=f"{round_} {one.id}", prompt=one.prompt, seeds=one.seeds, sampling=one.sampling)
            if kills >= 20:
                return

    def killing() -> None:
        """Kill one in five as soon as it is started, and the others at work."""
        nonlocal kills
        while kills < 20:
            before, seen = engine.restarts, len(made)
            until = seen + (kills % 5 > 0) * chance.randint(1, 40)
            while len(made) < until:
                time.sleep(chance.uniform(0.0, 0.01))
            kill(chance.choice(engine.pids))
            while engine.restarts == before:
                time.sleep(0.001)
            kills += 1

    threading.Thread(target=killing, daemon=True).start()
    for one in engine.generate(requests()):
        made.append(one)
    found = collect(made)  # which fails when one comes twice
    rounds = {name.split()[0] for name, _ in found}
    assert engine.restarts == 20
    assert tokens(found) == {(f"{r} {name}", k): ids for r in rounds for (name, k), ids in whole.items()}


def test_a_child_that_died_comes_back_with_the_weights_in_force(start: Start, saved: Path):
    policy = Policy.load(str(saved), device="cpu")
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight *= 1.1
    whole = tokens(answers(TransformersEngine(policy, batch_size=8), *(group(name) for name in SAMPLES)))
    engine = start(processes=2)
    assert tokens(answers(engine, *(group(name) for name in SAMPLES))) != whole
    engine.load(policy.model.state_dict().items(), 7)
    for pid in engine.pids:
        kill(pid)
    found = answers(engine, *(group(name) for name in SAMPLES))
    assert tokens(found) == whole
    assert {version for one in found.values() for version in one.versions} == {7}
    assert engine.restarts == 2


def test_weights_are_taken_though_every_child_has_died(start: Start):
    engine = start("short", processes=2)
    for pid in engine.pids:
        kill(pid)
    engine.load((), 4)
    assert engine.version == 4
    found = answers(engine, group("one"), group("two"))
    assert {version for one in found.values() for version in one.versions} == {4}


def test_a_child_that_comes_back_while_all_are_paused_is_paused(start: Start):
    engine = start("short")
    engine.pause()
    kill(engine.pids[0])
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(answers(engine, group("one"))), daemon=True)
    thread.start()
    while not engine.restarts:
        time.sleep(0.01)
    thread.join(0.3)
    assert thread.is_alive()
    engine.resume()
    thread.join(60)
    assert len(found[0]) == 4


def test_several_share_one_source(start: Start):
    """While one works at its only request, the other has another, and the source may have nothing for it."""
    engine = start(processes=2)
    busiest = 0
    under_way: set[str] = set()

    def requests() -> Iterator[Request | None]:
        nonlocal busiest
        for one in many(20):
            while len(under_way) == 2:
                yield None
            under_way.add(one.id)
            busiest = max(busiest, len(under_way))
            yield one

    made: list[Any] = []
    left = {one.id: len(one.seeds) for one in many(20)}
    for one in engine.generate(requests()):
        made.append(one)
        left[one.request_id] -= 1
        if not left[one.request_id]:
            under_way.remove(one.request_id)
    assert set(collect(made)) == {(one.id, k) for one in many(20) for k in one.seeds}
    assert busiest == 2


def test_children_that_die_without_a_completion_are_not_started_for_ever(start: Start):
    with pytest.raises(OvrlError, match=r"again and again.*RuntimeError: out of memory"):
        start("broken")
    engine = start("crashing")
    with pytest.raises(OvrlError, match=r"again and again.*RuntimeError: the driver is gone"):
        answers(engine, group("one"))


def test_an_error_for_the_user_is_no_reason_to_start_again(start: Start, tmp_path: Path):
    with pytest.raises(UsageError, match="holds no model"):
        EngineProcess(str(tmp_path), EngineSettings(device="cpu", processes=1))
    engine = start("failing")
    with pytest.raises(OvrlError, match="stopped after 1 completions, as told"):
        answers(engine, group("one"))
    assert engine.restarts == 0


def test_weights_of_another_model_are_refused_and_nothing_changes(start: Start, saved: Path):
    engine = start(processes=2)
    before = tokens(answers(engine, group("one")))
    good = Policy.load(str(saved), device="cpu").model.state_dict()
    with pytest.raises(UsageError, match=r"no\.such\.weight is unknown"):
        engine.load({**good, "no.such.weight": torch.zeros(1)}.items(), 1)
    with pytest.raises(UsageError, match="holds no model"):
        engine.load(saved.parent, 1)
    assert engine.version == 0
    assert tokens(answers(engine, group("one"))) == before
    assert engine.restarts == 0


def test_a_child_that_does_not_take_its_weights_in_time_is_started_again(start: Start):
    engine = start("deaf", load_limit=0.2)
    with pytest.raises(OvrlError, match="did not take new weights"):
        engine.load((), 1)
    found = answers(engine, group("one"))
    assert {version for one in found.values() for version in one.versions} == {0}
    assert engine.restarts == 1


def test_a_directory_of_weights_is_read_by_the_child(start: Start, saved: Path):
    engine = start()
    before = tokens(answers(engine, group("one")))
    engine.load(saved, 2)
    found = answers(engine, group("one"))
    assert tokens(found) == before
    assert {version for one in found.values() for version in one.versions} == {2}


def test_a_second_user_is_told(start: Start):
    engine = start("short")
    first = engine.generate([group("one")])
    next(first)
    with pytest.raises(OvrlError, match="generating already"):
        next(engine.generate([group("two")]))
    assert isinstance(next(first), Generation)


def test_requests_of_the_same_name_are_told_apart(start: Start):
    made = list(start("short", processes=2).generate([ask("one", {0: 1}), ask("one", {0: 2}), ask("one", {})]))
    assert sorted((one.request_id, one.k) for one in made) == [("one", 0), ("one", 0)]
    assert {one.text[-1] for one in made if isinstance(one, Generation)} == {"1", "2"}


_PARENT = """
import os, signal
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.engine_process import EngineProcess
from ovrl.rollout.prompt import Prompt
from ovrl.rollout.settings import EngineSettings

if __name__ == "__main__":
    engine = EngineProcess("m", EngineSettings(processes=2, batch_size=1), engine="ovrl.rollout.fake:load_engine")
    asked = Request(id="a", prompt=Prompt([], ()), seeds=dict.fromkeys(range(9), 1), sampling=Sampling())
    next(engine.generate([asked]))
    print(*engine.pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    assert done.returncode == -signal.SIGKILL
    for pid in pids:
        while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.02)  # the time limit of the test is that of this loop


def test_the_settings_say_where_completions_are_made(saved: Path):
    before = torch.get_num_threads()
    try:
        assert isinstance(load_engine(str(saved), EngineSettings(device="cpu", threads=1)), TransformersEngine)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    engine = load_engine(str(saved), EngineSettings(device="cpu", processes=2))
    assert isinstance(engine, EngineProcess)
    assert len(set(engine.pids)) == 2
    engine.close()
