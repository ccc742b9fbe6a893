"""Every token is what the version on its stamp samples after the prompt, the images and all tokens before it.

The scripted model's token is a hash of just that, and `recount` computes it again without the code under test.
"""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from engines import SAMPLES, collect, group
from ovrl.rollout.engine import Generation
from ovrl.rollout.policy import Policy
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.scripted_traits import Traits
from recount import Recount
from servers import paced_engine, sampling, serving

GROUPS = [group(name, 6, max_new_tokens=40) for name in SAMPLES]

KINDS = {
    "retract": Traits(most=6),
    "images are cached": Traits(most=6, caches_images=True),
    "no sessions": Traits(most=6, version="0.5.20"),
    "no spans of versions": Traits(most=6, version="0.5.17"),
}


@pytest.fixture(scope="module")
def versions(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Four versions of the weights; version 0 is what servers start with."""
    found = {0: model}
    for version in (1, 2, 3):
        policy = Policy.load(str(model), device="cpu")
        for tensor in policy.model.state_dict().values():
            tensor += 0.01 * version
        found[version] = tmp_path_factory.mktemp(f"version-{version}")
        policy.save(found[version])
    return found


def check(found: dict[tuple[str, int], Generation], processor: PromptProcessor, weights: dict[int, Path]) -> None:
    assert set(found) == {(request.id, k) for request in GROUPS for k in request.seeds}
    recount = Recount(processor, weights)
    for request in GROUPS:
        for k in request.seeds:
            recount.check(found[request.id, k], request)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["directory", "tensors"])
def test_weights_change_again_and_again(
    kind: str, by: str, model: Path, processor: PromptProcessor, versions: dict[int, Path], tmp_path: Path
):
    with paced_engine(model, processor, traits=KINDS[kind], weights_dir=tmp_path) as engine:

        def watched() -> Iterator[Generation]:
            for number, one in enumerate(engine.generate(GROUPS)):
                yield one
                if number in (2, 7, 12):
                    version = engine.version + 1
                    path = versions[version]
                    engine.load(
                        path if by == "directory" else Policy.load(str(path)).model.state_dict().items(), version
                    )

        found = collect(watched())
        check(found, processor, versions)
        mixed = [one.versions for one in found.values() if len(set(one.versions)) > 1]
        assert mixed
        assert {version for one in found.values() for version in one.versions} == {0, 1, 2, 3}
        mode = "retract" if kind in ("retract", "no sessions") else "abort"
        assert engine.server.counts[f"pause {mode}"] == 3
        assert (engine.counts["aborted"] > 0) == (mode == "abort")


def test_tensors_are_written_as_the_released_model_has_them(
    model: Path, processor: PromptProcessor, versions: dict[int, Path], tmp_path: Path
):
    with paced_engine(model, processor, weights_dir=tmp_path) as engine:
        engine.load(Policy.load(str(versions[2])).model.state_dict().items(), 5)
        (written,) = tmp_path.glob("ovrl-weights-*/version-5/model.safetensors")
        given, wanted = load_file(written), load_file(versions[2] / "model.safetensors")
        assert given.keys() == wanted.keys()
        assert all(given[name].equal(wanted[name]) for name in wanted)
        engine.load(versions[1], 6)
        engine.load(versions[3], 7)
        assert not list(tmp_path.glob("ovrl-weights-*/version-5"))  # nobody can need it
    assert not list(tmp_path.glob("ovrl-weights-*"))


def test_servers_come_and_go_while_weights_change(model: Path, processor: PromptProcessor, versions: dict[int, Path]):
    """One of three is killed and comes back with the weights of its start; one joins late."""
    requests = [group(name, 4, max_new_tokens=40) for _ in range(12) for name in SAMPLES]
    numbers = itertools.count()
    requests = [
        type(each)(id=f"{each.id} {next(numbers)}", prompt=each.prompt, seeds=each.seeds, sampling=each.sampling)
        for each in requests
    ]
    with serving(model, processor, *[Traits(most=8)] * 3) as (one, two, late):
        late.kill()
        with sampling([one, two, late], processor) as engine:
            events = {
                20: lambda: engine.load(versions[1], 1),
                40: one.kill,
                60: lambda: engine.load(versions[2], 2),
                70: late.start,
                80: one.start,
                130: lambda: engine.load(versions[3], 3),
            }
            found: dict[tuple[str, int], Generation] = {}
            for number, made in enumerate(engine.generate(requests)):
                assert isinstance(made, Generation)
                assert (made.request_id, made.k) not in found
                found[made.request_id, made.k] = made
                if number in events:
                    events[number]()
                if number == 100:
                    wait_for(engine.counts, "servers_joined", 4)
        assert engine.counts["servers_updated_to_join"] == 2
        assert engine.counts["servers_lost"] == 1
        assert min(late.counts["/generate"], one.counts["/generate"]) > 5
    assert len(found) == len(requests) * 4
    recount = Recount(processor, versions)
    for request in requests:
        for k in request.seeds:
            recount.check(found[request.id, k], request)
    assert {version for made in found.values() for version in made.versions} == {0, 1, 2, 3}


def wait_for(counts: dict[str, int], name: str, wanted: int) -> None:
    done = threading.Event()
    for _ in range(2000):
        if counts[name] >= wanted:
            return
        done.wait(0.01)
    raise AssertionError(f"{name} is {counts[name]}, and not {wanted}")
