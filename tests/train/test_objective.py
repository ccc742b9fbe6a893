"""Every formula against numbers worked out by hand, and its gradient against finite differences."""

import math

import pytest
import torch
from torch import Tensor

from ovrl.train import objective


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def yes(count: int) -> Tensor:
    return torch.ones(1, count, dtype=torch.bool)


@pytest.mark.parametrize(
    ("ratio", "advantage", "want", "clipped"),
    [
        (1.0, 1.0, -1.0, False),
        (1.1, 1.0, -1.1, False),  # inside the bounds
        (2.0, 1.0, -1.28, True),  # a good token may not gain more than 1 + clip_high
        (0.5, 1.0, -0.5, False),  # a good token that became rarer is never clipped
        (0.5, -1.0, 0.8, True),  # a bad token may not lose more than 1 - clip_low
        (2.0, -1.0, 2.0, False),  # a bad token that grew is never clipped
        (1.5, -2.0, 3.0, False),
        (0.9, -2.0, 1.8, False),
    ],
)
def test_the_surrogate_is_clipped_on_the_side_of_the_advantage(ratio, advantage, want, clipped):
    loss, which = objective.clipped_surrogate(
        row(math.log(ratio)), row(0.0), row(advantage), yes(1), clip_low=0.2, clip_high=0.28
    )
    assert loss.item() == pytest.approx(want)
    assert bool(which) is clipped


def test_the_gradient_of_the_surrogate_agrees_with_finite_differences():
    proximal, advantage = row(-1.0, -2.0, -0.5), row(1.0, -1.0, 0.5)

    def loss(logp: Tensor) -> Tensor:
        values, _ = objective.clipped_surrogate(logp, proximal, advantage, yes(3), clip_low=0.2, clip_high=0.28)
        return values.sum()

    point = row(-0.95, -2.1, -0.55).requires_grad_()
    assert torch.autograd.gradcheck(loss, (point,))
    loss(point).backward()
    ratio = (point.detach() - proximal).exp()
    assert torch.allclose(point.grad, -advantage * ratio)


def test_a_clipped_token_has_no_gradient():
    logp = row(math.log(2.0)).requires_grad_()
    objective.clipped_surrogate(logp, row(0.0), row(1.0), yes(1), clip_low=0.2, clip_high=0.28)[0].sum().backward()
    assert logp.grad.item() == 0.0


def test_masked_positions_may_hold_nan_and_leave_no_trace():
    nan = math.nan
    logp = row(-1.0, nan).requires_grad_()
    mask = torch.tensor([[True, False]])
    loss, _ = objective.clipped_surrogate(logp, row(-1.0, nan), row(1.0, nan), mask, clip_low=0.2, clip_high=0.28)
    total = objective.token_sum(loss, mask)
    total.backward()
    assert total.item() == -1.0
    assert logp.grad.tolist() == [[-1.0, 0.0]]


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.2), (1.1, 0.2), (0.2, -0.1)])
def test_bounds_out_of_range_are_refused(low, high):
    with pytest.raises(ValueError, match="out of range"):
        objective.clipped_surrogate(row(0.0), row(0.0), row(0.0), yes(1), clip_low=low, clip_high=high)


@pytest.mark.parametrize(("mode", "want"), [("mask", [1.0, 4.0, 0.0, 0.01]), ("truncate", [1.0, 4.0, 5.0, 0.01])])
def test_the_behaviour_weight_is_limited_above_only(mode, want):
    proximal = row(0.0, math.log(4.0), math.log(6.0), math.log(0.01))
    got = objective.behaviour_weight(proximal, torch.zeros_like(proximal), yes(4), cap=5.0, mode=mode)
    assert got.tolist()[0] == pytest.approx(want)


def test_the_behaviour_weight_carries_no_gradient_and_is_zero_outside_the_mask():
    proximal = row(0.1, 0.2).requires_grad_()
    weight = objective.behaviour_weight(
        proximal, row(0.0, math.nan), torch.tensor([[True, False]]), cap=5.0, mode="mask"
    )
    assert not weight.requires_grad
    assert weight.tolist()[0] == pytest.approx([math.exp(0.1), 0.0])


def test_log_probabilities_and_entropy_of_a_distribution_worked_out_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25, 0.0]]], dtype=torch.float64))
    logp, entropy = objective.log_probabilities(logits, torch.tensor([[1]]))
    assert logp.item() == pytest.approx(math.log(0.25))
    assert entropy.item() == pytest.approx(1.5 * math.log(2.0))  # 0.5 ln 2 + 2 x 0.25 ln 4
