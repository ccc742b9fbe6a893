"""Real SGLang servers on this machine's CPU. They are run by `make test-sglang`, which says in OVRL_SGLANG where."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovrl.rollout.sglang.launch import LaunchSettings, Servers
from ovrl.rollout.tiny import Family
from served import Raw, Weights, make_weights

os.environ.setdefault("SGLANG_HEALTH_CHECK_TIMEOUT", "3")  # after which /health says 503; 20 s is long for a test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Those that need the same servers come together: a start takes half a minute.
    items.sort(
        key=lambda item: (item.path.stem == "test_llava_onevision1_5", "keeper" in getattr(item, "fixturenames", ()))
    )
    if not os.environ.get("OVRL_SGLANG"):
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="make test-sglang"))


Serve = Callable[..., Servers]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Return what starts servers, and gives those that run if they are the same. One set runs at a time."""
    running: dict[Any, Servers] = {}

    def give(model: Path, count: int = 1, *, keep_images: bool = False) -> Servers:
        key = (model, count, keep_images)
        if key not in running:
            end()
            running[key] = Servers(
                str(model),
                LaunchSettings(
                    servers=count,
                    environment=os.environ["OVRL_SGLANG"],
                    keep_images=keep_images,
                    start_s=400.0,
                    flags=("--max-total-tokens", "8192", "--max-running-requests", "8"),
                ),
                device="cpu",
                dtype="float32",
                logs=tmp_path_factory.mktemp("servers"),
            )
        running[key].wait()
        return running[key]

    def end() -> None:
        for servers in running.values():
            servers.close()
        running.clear()

    yield give
    end()


@pytest.fixture
def keeper(serve: Serve, made: "Callable[[Family, int], Weights]") -> Servers:
    """Return a server that keeps what its vision tower made, and that may come to harm."""
    return serve(made("qwen2_5_vl", 3).served, 1, keep_images=True)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family, int], Weights]:
    """Return a family's tiny model from a seed, the same each time."""
    folder, found = tmp_path_factory.mktemp("models"), dict[tuple[Family, int], Weights]()

    def give(family: Family, seed: int) -> Weights:
        if (family, seed) not in found:
            found[family, seed] = make_weights(folder, family, seed)
        return found[family, seed]

    return give


@pytest.fixture
def old(made: Callable[[Family, int], Weights]) -> Weights:
    return made("qwen2_5_vl", 3)


@pytest.fixture
def new(made: Callable[[Family, int], Weights]) -> Weights:
    return made("qwen2_5_vl", 4)


@pytest.fixture
def servers(serve: Serve, old: Weights) -> Servers:
    """Two servers with the old weights, as they were started."""
    found = serve(old.served, 2)
    for url in found.urls:
        Raw(url).reset(old)
    return found
