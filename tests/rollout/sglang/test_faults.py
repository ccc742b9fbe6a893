"""1,000 completions for each thing that can happen to a server: each comes once, each token right, and it is told."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engines import PROMPTS, answers
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.control import Limits
from ovrl.rollout.sglang.scripted_traits import Kind, Traits
from recount import Recount
from servers import sampling, serving

GROUPS, OF = 250, 4

LIMITS = Limits(control_s=20, update_s=20, stall_s=20, watch_s=0.05, patience_s=40)

TOLD: dict[Kind, tuple[str, ...]] = {
    "die": ("lost", "servers_lost"),
    "restart": ("lost",),
    "hang": ("stalled",),
    "500": ("http_500",),
    "slow": (),
    "garbage": ("garbage",),
    "cut": ("lost", "continued"),
    "wrong_version": ("weights", "servers_lost"),
    "wrong_length": ("prompt_tokens",),
    "abort": ("aborted",),
}
"""What the summary must count."""


def requests(new: int = 12) -> Iterator[Request]:
    sampled = Sampling(max_new_tokens=new)
    for number in range(GROUPS):
        name = "one" if number % 25 == 0 else "text"
        seeds = {k: number * OF + k for k in range(OF)}
        yield Request(id=f"{name} {number}", prompt=PROMPTS[name], seeds=seeds, sampling=sampled)


@pytest.mark.parametrize("kind", TOLD)
def test_a_thousand_completions_come_once_each_whatever_happens_to_a_server(
    kind: Kind, model: Path, processor: PromptProcessor
):
    often = 200 if kind in ("die", "restart", "wrong_version", "hang") else 40

    def script(number: int) -> Kind | None:
        return kind if number % often == 7 else None

    wanted = list(requests(40 if kind in ("cut", "abort") else 12))
    with serving(model, processor, Traits(most=16), Traits(most=16), script=script) as servers:
        with sampling(servers, processor, limits=replace(LIMITS, stall_s=0.5) if kind == "hang" else LIMITS) as engine:
            found = answers(engine, *wanted)
        met = servers[0].counts[f"fault {kind}"]
        assert met >= 2, "nothing happened"
        assert all(engine.counts[each] for each in TOLD[kind]), engine.counts
    assert set(found) == {(request.id, k) for request in wanted for k in range(OF)}
    recount = Recount(processor, {0: model})
    for request in wanted[::10]:
        for k in range(OF):
            recount.check(found[request.id, k], request)
