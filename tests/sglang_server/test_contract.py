"""The contract of every engine, with a real server: all of it that does not ask for the same tokens again.

A server draws with a generator of its own, so that a seed decides nothing.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ovrl.rollout.engine import Engine
from ovrl.rollout.sglang.engine import SGLangEngine
from served import Raw, Weights
from servers import load_processor

_SPEC = importlib.util.spec_from_file_location(
    "contract", Path(__file__).parents[1] / "rollout/test_engine_contract.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
contract: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(contract)


@pytest.fixture
def make(serve: Any, made: Callable[..., Weights], tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    weights = made("qwen2_5_vl", 3)
    urls = serve(weights.served, 2).urls
    Raw(urls[0]).reset(weights)
    processor = load_processor(Path(weights.policy.name))
    with ExitStack() as stack:

        def give(batch_size: int = 8) -> Engine:
            del batch_size  # is the server's to decide
            engine = SGLangEngine(urls[:1], processor, weights_dir=tmp_path)
            stack.callback(engine.close)
            return engine

        yield give


test_each_seed_of_each_request_is_answered_once = contract.test_each_seed_of_each_request_is_answered_once
test_every_token_has_its_logprobs_and_a_version_and_the_end_is_told = (
    contract.test_every_token_has_its_logprobs_and_a_version_and_the_end_is_told
)
test_what_is_sampled_after_a_load_carries_its_version = contract.test_what_is_sampled_after_a_load_carries_its_version
test_an_update_gets_through_while_another_thread_samples = (
    contract.test_an_update_gets_through_while_another_thread_samples
)
test_a_closed_engine_says_so = contract.test_a_closed_engine_says_so
test_a_request_that_cannot_be_answered_is_refused_and_the_others_go_on = (
    contract.test_a_request_that_cannot_be_answered_is_refused_and_the_others_go_on
)
