import math

import pytest
import torch

from ovrl.train.batch import Batch
from ovrl.train.recipes.papo import Papo
from ovrl.train.settings import ObjectiveSettings
from ovrl.train.views import Masked

LOGP = [-1.0, -2.0, -0.5, -3.0]
MASKED = [-1.5, -1.0, -0.5, -3.5]


def micro_batch(masked: list[float]) -> Batch:
    row = lambda values: torch.tensor([values], dtype=torch.float64)  # noqa: E731
    none = dict.fromkeys(("ids", "versions", "truncated", "groups", "rewards"))
    given = {"mask": torch.tensor([[True, True, True, False]]), "aux": {"logp@masked": row(masked)}}
    shapes = dict.fromkeys(set(Batch.__dataclass_fields__) - set(none) - set(given))
    return Batch(**none, **shapes, **given)


def papo(**options: float) -> Papo:
    return Papo(ObjectiveSettings(options={"gamma": 0.02, "entropy": 0.05} | options))


def test_the_terms_are_those_of_the_method_and_so_are_their_gradients():
    logp = torch.tensor([LOGP], dtype=torch.float64, requires_grad=True)
    terms = papo().extra_losses(micro_batch(MASKED), logp)
    for t in range(3):
        d = MASKED[t] - LOGP[t]
        assert terms["papo_kl"][0, t].item() == pytest.approx(-0.02 * (math.exp(d) - d - 1))
        assert terms["papo_entropy"][0, t].item() == pytest.approx(-0.05 * LOGP[t])
    terms["papo_kl"].sum().backward()
    slopes = [-0.02 * (1 - math.exp(masked - own)) for masked, own in zip(MASKED, LOGP, strict=True)]
    assert logp.grad[0].tolist() == pytest.approx([*slopes[:3], 0.0])


def test_a_token_counts_up_to_the_limit_and_then_has_no_gradient():
    logp = torch.tensor([[-9.0, -2.0, -0.5, -3.0]], dtype=torch.float64, requires_grad=True)
    terms = papo().extra_losses(micro_batch([-1.0, -2.0, -0.5, 0.0]), logp)
    assert terms["papo_kl"][0].tolist() == pytest.approx([-0.2, 0.0, 0.0, 0.0])
    terms["papo_kl"].sum().backward()
    assert logp.grad[0].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_where_there_is_no_image_nothing_is_added():
    logp = torch.tensor([LOGP], dtype=torch.float64, requires_grad=True)
    method = papo()
    terms = method.extra_losses(micro_batch([math.nan] * 4), logp)
    total = sum(term.sum() for term in terms.values())
    assert total.item() == 0.0
    total.backward()
    assert logp.grad[0].tolist() == [0.0] * 4
    assert method.figures(micro_batch([math.nan] * 4), logp)["papo_reversed"].sum() == 0


def test_tokens_that_are_likelier_without_the_image_are_counted():
    reversed_ = papo().figures(micro_batch(MASKED), torch.tensor([LOGP], dtype=torch.float64))["papo_reversed"]
    assert reversed_[0].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_the_view_is_the_masked_image():
    assert papo(mask=0.3, patch=7).views == (Masked(0.3, 7),)
