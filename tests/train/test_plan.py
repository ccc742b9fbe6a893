import numpy as np
from PIL import Image

from ovrl.records import derive_seed
from ovrl.rollout.engine import Sampling
from ovrl.rollout.prompt import Prompt
from ovrl.train import plan, views
from ovrl.train.plan import Draw
from ovrl.train.views import Masked

PROMPT = Prompt([{"role": "user", "content": [{"type": "image"}]}], (Image.new("RGB", (56, 56), "white"),))
ASK = {"sampling": Sampling(max_new_tokens=3), "seed": 9, "step": 4}


def test_the_completions_of_a_group_are_numbered_through_its_draws():
    first, second = plan.requests(7, "s", PROMPT, [Draw(3), Draw(2, Masked(0.5))], **ASK)
    assert (first.id, second.id) == ("7/0", "7/1")
    assert first.seeds | second.seeds == {k: derive_seed(9, 7, k) for k in range(5)}
    assert (list(first.seeds), list(second.seeds)) == ([0, 1, 2], [3, 4])
    assert first.prompt is PROMPT
    shown = views.shown(Masked(0.5), PROMPT, "s", step=4, seed=9)
    assert (np.asarray(second.prompt.images[0]) == np.asarray(shown.images[0])).all()
    assert second.prompt.messages == PROMPT.messages
    assert {first.sampling, second.sampling} == {ASK["sampling"]}
