"""How the completions of one prompt are drawn: how many, and of which images."""

from collections.abc import Sequence
from dataclasses import dataclass

from ovrl.records import derive_seed
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.prompt import Prompt
from ovrl.train import views
from ovrl.train.views import View


@dataclass(frozen=True, slots=True)
class Draw:
    """Completions that are drawn alike."""

    n: int
    view: View | None = None
    """What the engine is shown instead of the images; the learner trains on the images as they are."""


def requests(
    gid: int, sample_id: str, prompt: Prompt, draws: Sequence[Draw], sampling: Sampling, *, seed: int, step: int
) -> list[Request]:
    """Return what the engine is asked for one group: a request for each draw, named `gid/place`.

    Completion k has the seed `derive_seed(seed, gid, k)`, whatever draw it belongs to: a view that changes nothing
    gives the completions of a plain group.

    Args:
        gid: number of the group.
        sample_id: decides, with step and seed, what a view does.
        prompt: with the images as they are.
        draws: the plan.
        sampling: how tokens are drawn.
        seed: of the run.
        step: the policy version for which the group is planned.
    """
    asked: list[Request] = []
    first = 0
    for place, draw in enumerate(draws):
        shown = prompt if draw.view is None else views.shown(draw.view, prompt, sample_id, step=step, seed=seed)
        seeds = {k: derive_seed(seed, gid, k) for k in range(first, first + draw.n)}
        asked.append(Request(id=f"{gid}/{place}", prompt=shown, seeds=seeds, sampling=sampling))
        first += draw.n
    return asked
