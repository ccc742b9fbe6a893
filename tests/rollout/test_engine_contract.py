"""What every engine must keep, said once and asked of each."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import torch

from engines import (
    NEW,
    PROMPTS,
    SAMPLES,
    Answers,
    answers,
    ask,
    collect,
    group,
    load_policy,
    make_model,
    save_policy,
    tokens,
)
from ovrl.errors import OvrlError
from ovrl.rollout import prompt
from ovrl.rollout.engine import Engine, Generation, Refusal, Request, Sampling
from ovrl.rollout.engine_process import EngineProcess
from ovrl.rollout.fake import ScriptedEngine
from ovrl.rollout.policy import Policy
from ovrl.rollout.settings import EngineSettings
from ovrl.rollout.sglang.engine import SGLangEngine
from ovrl.rollout.sglang.scripted_traits import Traits
from ovrl.rollout.table import ENGINES
from ovrl.rollout.tiny import Family
from ovrl.rollout.transformers_engine import TransformersEngine
from servers import load_processor, paced_engine

Make = Callable[..., Engine]


pytestmark = pytest.mark.usefixtures("one_thread")


# Each engine of the table, and how the test changes its weights.


def scripted(batch_size: int = 8) -> Engine:
    return ScriptedEngine(lambda asked, k, seed: f"{seed} " * (1 + seed % 4), batch_size=batch_size)


MAKES = {"fake": scripted, "hf": TransformersEngine, "sglang": SGLangEngine}
PROCESS = "hf process qwen2_5_vl"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    return save_policy(load_policy(make_model(folder / "tiny", "qwen2_5_vl")), folder / "saved")


@pytest.fixture(params=["fake", "sglang", *(f"hf {family}" for family in get_args(Family)), PROCESS])
def make(request: pytest.FixtureRequest, tmp_path: Path, saved: Path) -> Iterator[Make]:
    name, *how = request.param.split()
    if name == "fake":
        yield scripted
    elif name == "sglang":
        with ExitStack() as stack:
            model = make_model(tmp_path / "model", "qwen2_5_vl")
            processor = load_processor(model)
            yield lambda batch_size=8: stack.enter_context(
                paced_engine(model, processor, traits=Traits(most=batch_size), weights_dir=tmp_path)
            )
    elif "process" not in how:
        policy = load_policy(make_model(tmp_path, cast(Family, how[0])))
        yield lambda batch_size=8: TransformersEngine(policy, batch_size=batch_size)
    else:
        made: dict[int, EngineProcess] = {}

        def start(batch_size: int = 8) -> Engine:
            """Starting takes its time: an engine that is as it was at first is given again."""
            engine = made.get(batch_size)
            if engine is None or engine.version or engine.is_closed:
                if engine is not None:
                    engine.close()
                settings = EngineSettings(device="cpu", batch_size=batch_size, threads=1, processes=1)
                engine = made[batch_size] = EngineProcess(str(saved), settings)
            return engine

        yield start
        for engine in made.values():
            engine.close()


def weights(engine: Engine, *, other: bool = False) -> Iterable[tuple[str, torch.Tensor]]:
    if isinstance(engine, TransformersEngine):
        own = engine.policy.model.state_dict()
    elif isinstance(engine, EngineProcess | SGLangEngine):
        own = Policy.load(engine.model, device="cpu").model.state_dict()
    else:
        return ()
    own = {name: tensor.clone() for name, tensor in own.items()}
    generator = torch.Generator().manual_seed(1)
    return [(n, t + other * 0.05 * torch.randn(t.shape, generator=generator)) for n, t in own.items()]


def test_every_engine_of_the_table_is_held_to_this():
    assert set(MAKES) == set(ENGINES) - {"openai"}  # which tells no tokens: see test_openai_engine


def watched(made: Iterable[Any], between: Callable[[int], None]) -> Iterator[Any]:
    """Yield what is made, and call `between` with the number of completions after each."""
    for number, one in enumerate(made, start=1):
        yield one
        between(number)


def test_each_seed_of_each_request_is_answered_once(make: Make):
    requests = [group("one"), ask("text", {3: 7}), group("two", 20), ask("long", {0: 5, 9: 6}), ask("text", {})]
    found = answers(make(), *requests)
    assert set(found) == {(request.id, k) for request in requests for k in request.seeds}
    assert answers(make()) == {}


def test_every_token_has_its_logprobs_and_a_version_and_the_end_is_told(make: Make):
    finishes = set[str]()
    for one in answers(make(), *(group(name, 8) for name in SAMPLES)).values():
        finishes.add(one.finish_reason)
        assert 1 <= len(one.token_ids) == len(one.logprobs) == len(one.sampling_logprobs) == len(one.versions) <= NEW
        assert (one.finish_reason == "length") <= (len(one.token_ids) == NEW)
        assert all(value <= 0 for value in one.logprobs)
        assert one.sampling_logprobs == one.logprobs  # at temperature 1, without truncation
        assert one.prompt_tokens > 0
    assert finishes == {"stop", "length"}


def test_a_completion_does_not_know_what_is_beside_it(make: Make):
    together = answers(make(batch_size=64), *(group(name) for name in SAMPLES))
    for batch_size in (1, 3, 5):  # also smaller than a group
        assert tokens(answers(make(batch_size), *(group(name) for name in reversed(SAMPLES)))) == tokens(together)
    for (name, k), one in together.items():
        alone = answers(make(), ask(name, {k: group(name).seeds[k]}))[name, k]
        assert (alone.token_ids, alone.finish_reason, alone.prompt_tokens) == (
            one.token_ids,
            one.finish_reason,
            one.prompt_tokens,
        )
        assert alone.logprobs == pytest.approx(one.logprobs, abs=1e-5)


def test_seeds_make_the_difference(make: Make):
    found = answers(make(), ask("one", {0: 11, 1: 11, 2: 12345}))
    assert found["one", 0].token_ids == found["one", 1].token_ids != found["one", 2].token_ids


def test_requests_with_other_sampling_do_not_disturb_each_other(make: Make):
    requests = [
        group("one"),
        group("two", temperature=0.5),
        group("text", top_k=3, max_new_tokens=5),
        group("long", temperature=0.5, stop=("1",)),
    ]
    together = answers(make(), *requests)
    assert tokens(together) == {key: ids for one in requests for key, ids in tokens(answers(make(), one)).items()}
    assert max(len(together["text", k].token_ids) for k in range(4)) == 5


def test_a_stop_string_ends_a_completion_with_the_token_that_completes_it(make: Make):
    shortened = 0
    for (name, k), whole in answers(make(), group("one", 12), group("text", 12)).items():
        middle = len(whole.text) // 2
        stop = whole.text[middle - 2 : middle + 2]
        if len(stop) < 4 or not stop.isascii():
            continue
        seeds = {k: group(name).seeds.get(k, 1000 * list(SAMPLES).index(name) + k)}
        one = answers(make(), ask(name, seeds, stop=("never said", stop)))[name, k]
        assert (one.finish_reason, stop in one.text) == ("stop", True)
        length = len(one.token_ids)
        assert one.token_ids == whole.token_ids[:length]
        shortened += length < len(whole.token_ids)
        if length > 1:
            before = answers(make(), ask(name, seeds, stop=(stop,), max_new_tokens=length - 1))[name, k]
            assert (before.finish_reason, stop in before.text) == ("length", False)
    assert shortened >= 3


def test_what_is_sampled_after_a_load_carries_its_version(make: Make):
    engine = make()
    assert engine.version == 0
    engine.load(weights(engine), 3)
    assert engine.version == 3
    assert {version for one in answers(engine, group("one")).values() for version in one.versions} == {3}


def test_weights_change_in_the_middle_of_completions(make: Make):
    engine = make(batch_size=6)
    before = answers(engine, *(group(name) for name in SAMPLES))

    def between(made: int) -> None:
        if made in (1, 6):
            engine.load(weights(engine, other=True), engine.version + 1)

    found = collect(watched(engine.generate([group(name) for name in SAMPLES]), between))
    assert set(found) == set(before)
    seen = [one.versions for one in found.values()]
    assert all(list(versions) == sorted(versions) for versions in seen)
    stamps = {version for versions in seen for version in versions}
    if isinstance(engine, EngineProcess):  # it goes on while a generation is looked at
        assert {0} < stamps <= {0, 1, 2}
    else:
        assert stamps == {0, 1, 2}
        assert any(len(set(versions)) > 1 for versions in seen)
    for key, one in found.items():  # nothing of the past has changed
        old = one.versions.count(0)
        assert one.token_ids[:old] == before[key].token_ids[:old]


def test_a_paused_engine_samples_nothing_and_loses_nothing(make: Make):
    whole = answers(make(), *(group(name) for name in SAMPLES))
    engine = make()
    engine.load(weights(engine), 0)
    engine.pause()
    found: list[Answers] = []
    thread = threading.Thread(
        target=lambda: found.append(answers(engine, *(group(name) for name in SAMPLES))), daemon=True
    )
    thread.start()
    thread.join(timeout=0.2)
    engine.pause()  # once is enough
    engine.load(weights(engine), 5)
    assert thread.is_alive()
    engine.resume()
    engine.resume()
    thread.join(timeout=60)
    assert tokens(found[0]) == tokens(whole)
    assert {version for one in found[0].values() for version in one.versions} == {5}


def test_a_pause_in_the_middle_changes_no_token(make: Make):
    whole = answers(make(), *(group(name) for name in SAMPLES))
    engine = make()

    def between(made: int) -> None:
        if made % 3 == 1:
            engine.pause()
            engine.load(weights(engine), made)
            engine.resume()

    made = watched(engine.generate([group(name) for name in SAMPLES]), between)
    assert tokens(collect(made)) == tokens(whole)


def test_an_update_gets_through_while_another_thread_samples(make: Make):
    """Who samples takes the lock again at once; who updates must not wait for the last completion."""
    engine = make(batch_size=2)
    seen = threading.Semaphore(0)
    found: list[Answers] = []

    def until_updated() -> Iterator[Request]:
        updated, number = False, 0
        while not updated:
            updated, number = engine.version == 3, number + 1
            yield Request(
                id=str(number), prompt=PROMPTS["text"], seeds={0: number}, sampling=Sampling(max_new_tokens=NEW)
            )

    thread = threading.Thread(
        target=lambda: found.append(collect(watched(engine.generate(until_updated()), lambda made: seen.release()))),
        daemon=True,
    )
    thread.start()
    for version in range(1, 4):
        assert seen.acquire(timeout=60)
        engine.load(weights(engine), version)
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert {version for one in found[0].values() for version in one.versions} >= {0, 3}


def test_a_closed_engine_says_so(make: Make):
    engine = make()
    under_way = engine.generate([group("one", 8)])
    next(under_way)
    engine.close()
    engine.close()
    with pytest.raises(OvrlError, match="closed"):
        list(under_way)
    with pytest.raises(OvrlError, match="closed"):
        list(engine.generate([group("text")]))


def test_an_iterator_can_be_dropped_and_the_engine_goes_on(make: Make):
    engine = make()
    under_way = engine.generate([group("one", 8)])
    next(under_way)
    del under_way
    assert tokens(answers(engine, group("text"))) == tokens(answers(make(), group("text")))


def test_a_request_that_cannot_be_answered_is_refused_and_the_others_go_on(make: Make):
    built = PROMPTS["one"]
    surplus = prompt.Prompt(built.messages, built.images * 2)
    few = prompt.Prompt(built.messages, ())
    sampling = Sampling(max_new_tokens=NEW)
    requests = [
        group("one"),
        Request(id="surplus", prompt=surplus, seeds={0: 1, 1: 2}, sampling=sampling),
        Request(id="few", prompt=few, seeds={0: 1}, sampling=sampling),
        Request(id="seed", prompt=built, seeds={0: 1, 1: -1}, sampling=sampling),
        group("text"),
    ]
    made = list(make().generate(requests))
    refused = {one.request_id: one.reason for one in made if isinstance(one, Refusal)}
    assert set(refused) == {"surplus", "few", "seed"}
    assert "1 places for images, and 2 images" in refused["surplus"]
    assert sorted(one.request_id for one in made if isinstance(one, Generation)) == ["one"] * 4 + ["text"] * 4
    assert len(made) == 11


def test_requests_are_pulled_when_there_is_room(make: Make):
    """A prompt that is built early grows old in a queue."""
    pulled: list[str] = []

    def requests() -> Iterator[Request]:
        for name in SAMPLES:
            pulled.append(name)
            yield group(name, 4)

    next(iter(make(batch_size=4).generate(requests())))
    assert len(pulled) <= 2


def test_a_source_can_wait_for_what_is_under_way(make: Make):
    """Each group is planned when the one before it is finished, as a trainer with a lead of one group does."""
    unfinished, nones = 0, 0

    def requests() -> Iterator[Request | None]:
        nonlocal unfinished, nones
        for name in SAMPLES:
            while unfinished:
                nones += 1
                yield None
            unfinished = 4
            yield group(name)
        yield None

    found: list[Any] = []
    for one in make().generate(requests()):
        unfinished -= 1
        found.append(one)
    assert tokens(collect(found)) == tokens(answers(make(), *(group(name) for name in SAMPLES)))
    assert len(SAMPLES) <= nones < 1000 * len(SAMPLES)  # asked again, and not in a busy loop


def test_a_request_that_comes_later_joins_what_is_under_way(make: Make):
    pulled: list[int] = []
    made = 0

    def requests() -> Iterator[Request | None]:
        yield group("one", 8)
        yield None
        pulled.append(made)
        yield group("two", 8)
        yield None

    found: list[Any] = []
    for one in make(batch_size=64).generate(requests()):
        made += 1
        found.append(one)
    assert pulled[0] < 8
    assert tokens(collect(found)) == tokens(answers(make(), group("one", 8), group("two", 8)))


def test_a_source_that_waits_by_itself_is_waited_for(make: Make):
    """With nothing under way, None never comes: the engine need not look again and again."""
    go = threading.Event()
    found: list[Answers] = []

    def requests() -> Iterator[Request | None]:
        assert go.wait(60)
        yield group("text")
        yield None

    thread = threading.Thread(target=lambda: found.append(collect(make().generate(requests()))), daemon=True)
    thread.start()
    thread.join(timeout=0.1)
    assert thread.is_alive()
    go.set()
    thread.join(timeout=60)
    assert len(found[0]) == 4


def test_a_scripted_engine_dies_as_told():
    def engine() -> Engine:
        return ScriptedEngine(lambda asked, k, seed: "x", fail_after=2)

    with pytest.raises(OvrlError):
        list(engine().generate([group("text")]))
    generations = engine().generate([group("text")])
    assert [next(generations).k, next(generations).k] == [0, 1]
