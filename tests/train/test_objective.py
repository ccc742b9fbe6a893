"""The loss against the equations written out once more, token by token and in plain numbers, for every choice.

The reference takes the log-probabilities twice: `logp`, which a gradient goes through, and `frozen`, which stands
wherever an equation has a stop-gradient. So finite differences of the reference are the gradient that is meant.
"""

import itertools
import math
import random
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from ovrl.train import objective
from ovrl.train.aggregation import Totals, share
from ovrl.train.batch import Batch
from ovrl.train.recipe import Recipe
from ovrl.train.settings import ObjectiveSettings
from ovrl.train.step import Tally, token_loss

LONGEST = 8
LENGTHS = (5, 3, 8, 1, 4)
GROUPS = (0, 0, 1, 1, 2)
EVERY = range(5)


def numbers(seed: int, spread: float) -> list[list[float]]:
    rng = random.Random(seed)
    return [[rng.uniform(-spread, spread) for _ in range(n)] for n in LENGTHS]


def plus(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    return [[x + y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


# Log-probabilities near -2 under the sampler; the later policies moved by up to a factor of e^0.5 and e^2 each.
BEHAVIOUR = [[x - 2.0 for x in row] for row in numbers(1, 0.5)]
PROXIMAL = plus(BEHAVIOUR, numbers(2, 2.0))
LOGP = plus(PROXIMAL, numbers(3, 0.5))
ADVANTAGE = numbers(4, 2.0)


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


class Reference:
    """Losses and figures of all tokens, from the equations."""

    def __init__(self, logp, frozen, s: ObjectiveSettings) -> None:
        anchor = {"self": frozen, "recompute": PROXIMAL, "rollout": BEHAVIOUR}[s.anchor]
        now = frozen if s.anchor == "self" else PROXIMAL
        self.losses, self.clipped, self.weights = [], [], []
        for i in range(len(LENGTHS)):
            row, cut, weights = [], [], []
            for t in range(LENGTHS[i]):
                ratio, still = self.ratios(logp[i], frozen[i], anchor[i], t, s.level)
                gain = mean(ADVANTAGE[i]) if s.level == "sequence" else ADVANTAGE[i][t]
                loss, clipped = self.surrogate(ratio, still, gain, logp[i][t], s)
                weight = self.weight([a - b for a, b in zip(now[i], BEHAVIOUR[i], strict=True)], t, s.correction)
                if s.anchor == "rollout":
                    weight = 1.0
                row.append(weight * loss)
                cut.append(clipped)
                weights.append(weight)
            self.losses.append(row)
            self.clipped.append(cut)
            self.weights.append(weights)
        self.behaviour_kl = mean(
            [
                math.exp(n - b) - 1 - (n - b)
                for p, q in zip(now, BEHAVIOUR, strict=True)
                for n, b in zip(p, q, strict=True)
            ]
        )

    @staticmethod
    def ratios(logp, frozen, anchor, t, level):
        if level == "token":
            return math.exp(logp[t] - anchor[t]), math.exp(frozen[t] - anchor[t])
        whole = math.exp(mean([a - b for a, b in zip(frozen, anchor, strict=True)]))
        if level == "sequence":
            return math.exp(mean([a - b for a, b in zip(logp, anchor, strict=True)])), whole
        return whole * math.exp(logp[t] - frozen[t]), whole

    @staticmethod
    def surrogate(ratio, still, gain, logp, s):
        low, high = 1 - s.clip_low, 1 + s.clip_high
        if s.surrogate == "plain":
            return -ratio * gain, False
        if s.surrogate == "cispo":
            return -clip(still, low, high) * gain * logp, not low <= still <= high
        reward = min(ratio * gain, clip(ratio, low, high) * gain)
        clipped = reward < ratio * gain
        if s.dual_clip is not None and gain < 0 and reward < s.dual_clip * gain:
            reward, clipped = s.dual_clip * gain, True
        return -reward, clipped

    @staticmethod
    def weight(differences, t, c):
        w, whole = math.exp(differences[t]), math.exp(mean(differences))
        factor = {"none": 1.0, "mask": w if c.low <= w <= c.high else 0.0, "truncate": min(w, c.high)}[c.token]
        if c.sequence == "mask" and not 1 / c.sequence_bound <= whole <= c.sequence_bound:
            return 0.0
        if c.sequence == "weight":
            return clip(whole, 1 / c.sequence_bound, c.sequence_bound)
        return factor

    def loss(self, aggregation: str) -> float:
        if aggregation == "tokens":
            return mean([loss for row in self.losses for loss in row])
        if aggregation == "sequences":
            return mean([mean(row) for row in self.losses])
        if aggregation == "groups":
            members = [[r for r, g in zip(self.losses, GROUPS, strict=True) if g == k] for k in sorted(set(GROUPS))]
            return mean([mean([loss for row in rows for loss in row]) for rows in members])
        return sum(loss for row in self.losses for loss in row) / (len(LENGTHS) * LONGEST)

    def share(self, table) -> float:
        return mean([float(value) for row in table for value in row])


def padded(rows: list[list[float]], order=EVERY, fill=math.nan) -> Tensor:
    width = max(len(rows[i]) for i in order)
    return torch.tensor([[*rows[i], *[fill] * (width - len(rows[i]))] for i in order], dtype=torch.float64)


def micro_batch(order=EVERY, **more: Tensor) -> Batch:
    """What is no input of the loss is left None."""
    given = {
        "mask": ~padded(LOGP, order).isnan(),
        "behaviour": padded(BEHAVIOUR, order),
        "advantage": padded(ADVANTAGE, order),
        "proximal": padded(PROXIMAL, order),
        "groups": torch.tensor([GROUPS[i] for i in order]),
        "aux": {},
    }
    return Batch(**{field.name: None for field in fields(Batch)} | given | more)


TOTALS = Totals(sum(LENGTHS), len(LENGTHS), (8, 9, 4))


def total(batch: Batch, logp: Tensor, recipe: Recipe, tally: Tally) -> Tensor:
    loss = token_loss(batch, logp, recipe, tally)
    factor = share(batch.mask, batch.groups, TOTALS, aggregation=recipe.objective.aggregation, longest=LONGEST)
    tally.tokens += int(batch.mask.sum())
    return objective.token_sum(loss * factor, batch.mask)


CORRECTIONS = {
    "none": {"token": "none"},
    "two-sided": {"low": 0.5, "high": 2.0},
    "one-sided": {"low": 0, "high": 2.0},
    "truncate": {"token": "truncate", "high": 2.0},
    "sequence mask": {"token": "none", "sequence": "mask", "sequence_bound": 1.34},
    "both masks": {"high": 2.0, "sequence": "mask", "sequence_bound": 1.5},
    "sequence weight": {"token": "none", "sequence": "weight", "sequence_bound": 1.34},
}
SURROGATES = {
    "ppo": {},
    "dual": {"dual_clip": 1.35},
    "cispo": {"surrogate": "cispo"},
    "plain": {"surrogate": "plain"},
}
LEVELS = ("token", "sequence", "sequence_token")


def choices(level: str, surrogate: str):
    for anchor, (name, correction), aggregation in itertools.product(
        ("self", "recompute", "rollout"), CORRECTIONS.items(), ("tokens", "sequences", "groups", "constant")
    ):
        if anchor != "rollout" or name == "none":
            yield ObjectiveSettings(
                level=level, anchor=anchor, aggregation=aggregation, correction=correction, **SURROGATES[surrogate]
            )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_value_gradient_and_figures_are_those_of_the_equations(level: str, surrogate: str):
    if (level, surrogate) == ("sequence_token", "cispo"):
        return  # refused, see test_settings
    for s in choices(level, surrogate):
        recipe, tally = Recipe(s, longest=LONGEST), Tally()
        proximal = None if s.anchor == "self" else padded(PROXIMAL)
        logp = padded(LOGP).requires_grad_()
        loss = total(micro_batch(proximal=proximal), logp, recipe, tally)
        wanted = Reference(LOGP, LOGP, s)
        assert loss.item() == pytest.approx(wanted.loss(s.aggregation), rel=1e-10), s
        figures = tally.figures()
        assert figures["clip_fraction"] == pytest.approx(wanted.share(wanted.clipped)), s
        masked = [[w == 0 for w in row] for row in wanted.weights]
        assert figures["behaviour_masked"] == pytest.approx(wanted.share(masked)), s
        assert figures["behaviour_kl"] == pytest.approx(wanted.behaviour_kl), s
        loss.backward()
        for i, t in ((0, 2), (2, 7), (3, 0), (4, 1)):
            ends = []
            for h in (-1e-6, 1e-6):
                moved = [list(row) for row in LOGP]
                moved[i][t] += h
                ends.append(Reference(moved, LOGP, s).loss(s.aggregation))
            assert logp.grad[i, t].item() == pytest.approx((ends[1] - ends[0]) / 2e-6, abs=2e-9), (s, i, t)
        assert not logp.grad[padded(LOGP).isnan()].any()


def test_the_points_of_the_comparison_lie_on_both_sides_of_every_bound():
    s = ObjectiveSettings(anchor="recompute", dual_clip=1.35, correction={"high": 2.0})
    tally = Tally()
    total(micro_batch(), padded(LOGP), Recipe(s, longest=LONGEST), tally)
    figures = tally.figures()
    assert 0.2 < figures["clip_fraction"] < 0.8
    assert 0.2 < figures["behaviour_masked"] < 0.8
    for name in ("sequence mask", "both masks"):
        weights = Reference(LOGP, LOGP, s.model_copy(update={"correction": s.correction.model_copy(
            update=CORRECTIONS[name])})).weights  # fmt: skip
        assert any(set(row) == {0.0} for row in weights)
        assert any(any(row) for row in weights)


@pytest.mark.parametrize("aggregation", ["tokens", "sequences", "groups", "constant"])
@pytest.mark.parametrize("level", LEVELS)
def test_neither_order_nor_the_cut_into_micro_batches_changes_anything(aggregation: str, level: str):
    """The parts cut through groups, and are padded to other widths."""
    s = ObjectiveSettings(aggregation=aggregation, level=level, anchor="recompute", correction={"sequence": "mask"})
    found = []
    for parts in ([[0, 1, 2, 3, 4]], [[4, 2, 0, 3, 1]], [[3], [0, 4], [2, 1]], [[i] for i in range(5)]):
        recipe, tally = Recipe(s, longest=LONGEST), Tally()
        gradient: dict[int, Tensor] = {}
        value = 0.0
        for order in parts:
            logp = padded(LOGP, order).requires_grad_()
            loss = total(micro_batch(order), logp, recipe, tally)
            loss.backward()
            value += loss.item()
            gradient |= {i: logp.grad[row, : LENGTHS[i]] for row, i in enumerate(order)}
        found.append((value, torch.cat([gradient[i] for i in range(5)]), tally.figures()))
    value, gradient, figures = found[0]
    for other, theirs, their_figures in found[1:]:
        assert other == pytest.approx(value, rel=1e-12)
        assert torch.allclose(theirs, gradient, rtol=1e-12, atol=0)
        assert their_figures == pytest.approx(figures, rel=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_without_a_moved_policy_every_ratio_is_one_and_recomputing_changes_nothing(level: str):
    """The shortcut of one mini-batch: the policy's own log-probabilities without gradient are the proximal ones."""
    gradients = []
    for anchor, proximal in (("self", None), ("recompute", padded(LOGP))):
        logp, tally = padded(LOGP).requires_grad_(), Tally()
        s = ObjectiveSettings(level=level, anchor=anchor)
        total(micro_batch(proximal=proximal), logp, Recipe(s, longest=LONGEST), tally).backward()
        gradients.append(logp.grad)
        assert tally.figures()["clip_fraction"] == 0
    assert torch.equal(*gradients)
    assert gradients[0].any()


def test_gspo_with_replies_of_one_token_is_token_ppo():
    batch = micro_batch(mask=torch.ones(5, 1, dtype=torch.bool), behaviour=padded(BEHAVIOUR)[:, :1],
                        advantage=padded(ADVANTAGE)[:, :1], proximal=padded(PROXIMAL)[:, :1])  # fmt: skip
    found = []
    for level, aggregation in (("token", "tokens"), ("sequence", "sequences"), ("sequence_token", "sequences")):
        recipe = Recipe(ObjectiveSettings(level=level, aggregation=aggregation, anchor="recompute"), longest=1)
        logp = padded(LOGP)[:, :1].clone().requires_grad_()
        factor = share(batch.mask, batch.groups, Totals(5, 5, (2, 2, 1)), aggregation=aggregation, longest=1)
        loss = objective.token_sum(token_loss(batch, logp, recipe, Tally()) * factor, batch.mask)
        loss.backward()
        found.append((loss.item(), logp.grad))
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-12)
        assert torch.allclose(gradient, found[0][1], rtol=1e-12, atol=0)


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
    loss, which = objective.clipped_surrogate(row(ratio), row(advantage), low=0.2, high=0.28)
    assert loss.item() == pytest.approx(want)
    assert bool(which) is clipped


@pytest.mark.parametrize(
    ("ratio", "advantage", "want", "acts"),
    [
        (9.0, -2.0, 6.0, True),  # at most 3 times the advantage
        (2.0, -2.0, 4.0, False),
        (9.0, 2.0, -2.56, False),  # a good token knows the first clip only
    ],
)
def test_the_dual_clip_bounds_bad_tokens_that_grew(ratio, advantage, want, acts):
    first, _ = objective.clipped_surrogate(row(ratio), row(advantage), low=0.2, high=0.28)
    loss, which = objective.dual_clipped(first, row(advantage), limit=3.0)
    assert loss.item() == pytest.approx(want)
    assert bool(which) is acts


def test_a_clipped_token_has_no_gradient_under_ppo_and_one_under_cispo():
    for surrogate, want in (("ppo", 0.0), ("cispo", -1.28)):
        logp = row(math.log(2.0)).requires_grad_()
        s = ObjectiveSettings(anchor="recompute", surrogate=surrogate, correction={"token": "none"})
        policy = objective.policy_loss(logp, row(0.0), row(0.0), row(1.0), yes(1), s)
        policy.surrogate.sum().backward()
        assert logp.grad.item() == pytest.approx(want)
        assert bool(policy.clipped)


def test_ratios_are_cut_outside_a_thousand_and_left_alone_inside():
    inside = row(math.log(999.0), -math.log(999.0), 0.3)
    assert torch.equal(objective.log_ratio(inside, torch.zeros_like(inside), yes(3), level="token"), inside)
    far = row(40.0, -40.0)
    cut = objective.log_ratio(far, torch.zeros_like(far), yes(2), level="token").exp()
    assert cut.tolist()[0] == pytest.approx([1e3, 1e-3])


@pytest.mark.parametrize(("estimator", "slope"), [("k1", "k2"), ("k2", "k2"), ("k3", "k3")])
def test_divergences_have_their_values_and_gradients(estimator: str, slope: str):
    d = [0.7, -1.2, 0.0]
    values = {
        "k1": lambda x: x,
        "k2": lambda x: x * x / 2,
        "k3": lambda x: math.exp(-x) - 1 + x,
    }
    logp = row(*(x - 2.0 for x in d)).requires_grad_()
    got = objective.divergence(logp, row(-2.0, -2.0, -2.0), yes(3), estimator=estimator)
    assert got.tolist()[0] == pytest.approx([values[estimator](x) for x in d])
    got.sum().backward()
    h = 1e-6
    assert logp.grad.tolist()[0] == pytest.approx(
        [(values[slope](x + h) - values[slope](x - h)) / (2 * h) for x in d], abs=1e-8
    )


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_mean_gradient_of_a_divergence_is_that_of_the_exact_one(estimator: str):
    """Over all outcomes of a distribution of three words; k2 and with it k1 are exact, k3 only near the reference."""
    theta = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.2, -0.1, 0.15], dtype=torch.float64).log_softmax(0)
    logp = theta.log_softmax(0)
    exact = torch.autograd.grad((logp.exp() * (logp - reference)).sum(), theta, retain_graph=True)[0]
    each = objective.divergence(logp.unsqueeze(0), reference.unsqueeze(0), yes(3), estimator=estimator)
    mean_gradient = torch.autograd.grad((logp.detach().exp() * each[0]).sum(), theta)[0]
    assert torch.allclose(mean_gradient, exact, atol=2e-3 if estimator == "k3" else 1e-12)


def test_the_pull_towards_the_reference_is_added_and_logged():
    s = ObjectiveSettings(kl={"coefficient": 0.1, "estimator": "k2"}, correction={"token": "none"})
    batch = micro_batch(proximal=None, advantage=padded(ADVANTAGE) * 0, aux={"logp@ref": padded(PROXIMAL)})
    tally = Tally()
    loss = total(batch, padded(LOGP), Recipe(s, longest=LONGEST), tally)
    gaps = [a - b for p, q in zip(LOGP, PROXIMAL, strict=True) for a, b in zip(p, q, strict=True)]
    assert loss.item() == pytest.approx(0.1 * mean([g * g / 2 for g in gaps]))
    assert tally.figures()["kl_loss"] == pytest.approx(loss.item())


def test_the_behaviour_weight_carries_no_gradient():
    proximal = row(0.1, 0.2).requires_grad_()
    weight = objective.correction(
        proximal, row(0.0, math.nan), torch.tensor([[True, False]]), ObjectiveSettings().correction
    )
    assert not weight.requires_grad
    assert weight.tolist()[0] == pytest.approx([math.exp(0.1), 0.0])


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("surrogate", ["ppo", "plain"])
def test_gradients_agree_with_finite_differences_of_the_function_itself(level: str, surrogate: str):
    s = ObjectiveSettings(anchor="recompute", level=level, surrogate=surrogate)
    mask = micro_batch().mask

    def loss(logp: Tensor) -> Tensor:
        zero = torch.zeros_like(mask, dtype=torch.float64)
        proximal, behaviour, advantage = (torch.where(mask, padded(v), zero) for v in (PROXIMAL, BEHAVIOUR, ADVANTAGE))
        policy = objective.policy_loss(logp, proximal, behaviour, advantage, mask, s)
        return (policy.weight * policy.surrogate).sum()

    assert torch.autograd.gradcheck(loss, (padded(LOGP, fill=0.0).requires_grad_(),))


def test_log_probabilities_and_entropy_of_a_distribution_worked_out_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25, 0.0]]], dtype=torch.float64))
    logp, entropy = objective.log_probabilities(logits, torch.tensor([[1]]))
    assert logp.item() == pytest.approx(math.log(0.25))
    assert entropy.item() == pytest.approx(1.5 * math.log(2.0))  # 0.5 ln 2 + 2 x 0.25 ln 4
