from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovrl.errors import UsageError
from ovrl.rollout.engine import Sampling
from ovrl.rollout.sampling import draw, mask_banned, truncate, uniforms

WORDS = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()


def at(chance: float) -> torch.Tensor:
    return torch.tensor([chance], dtype=torch.float64)


@pytest.mark.parametrize(
    ("chance", "token"),
    [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.2999, 1), (0.3001, 2), (0.5999, 2), (0.6001, 3), (1 - 2**-53, 3)],
)
def test_a_draw_inverts_the_cumulative_distribution(chance: float, token: int):
    drawn = draw(WORDS, at(chance), Sampling())
    assert drawn.ids.tolist() == [token]
    assert drawn.logprobs.tolist() == drawn.sampling_logprobs.tolist() == pytest.approx([WORDS[0, token].item()])


@pytest.mark.parametrize("chance", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("banned", [[0], [3], [0, 1, 3]])
def test_a_banned_word_is_not_drawn_at_any_chance(chance: float, banned: list[int]):
    mask = torch.zeros(4, dtype=torch.bool)
    mask[banned] = True
    logits = mask_banned(WORDS, mask)
    drawn = draw(logits, at(chance), Sampling())
    assert drawn.ids.item() not in banned
    left = 1 - WORDS.exp()[0, banned].sum()
    assert drawn.logprobs.exp().item() == pytest.approx((WORDS.exp()[0, drawn.ids] / left).item())


def test_the_logprob_is_that_before_temperature_and_truncation():
    for sampling in (Sampling(temperature=0.0), Sampling(temperature=0.01), Sampling(top_k=1), Sampling(top_p=0.1)):
        drawn = draw(WORDS, at(0.5), sampling)
        assert (drawn.ids.item(), drawn.logprobs.exp().item()) == (3, pytest.approx(0.4))


@pytest.mark.parametrize(
    ("sampling", "token", "probability"),
    [
        (Sampling(temperature=0.0), 3, 1.0),
        (Sampling(temperature=0.5), 3, 0.16 / 0.30),  # squares of the probabilities
        (Sampling(top_k=2), 3, 4 / 7),
        (Sampling(top_p=0.71), 3, 4 / 9),
        (Sampling(temperature=0.5, top_k=3), 3, 0.16 / 0.29),
        (Sampling(temperature=0.5, top_p=0.6), 3, 0.16 / 0.25),  # tempered first: 0.53 does not reach it
        (Sampling(temperature=1e-30), 3, 1.0),
    ],
)
def test_the_other_logprob_is_that_of_what_was_drawn_from(sampling: Sampling, token: int, probability: float):
    drawn = draw(WORDS, at(0.6), sampling)
    assert drawn.ids.item() == token
    assert drawn.sampling_logprobs.exp().item() == pytest.approx(probability)


@pytest.mark.parametrize(
    ("chance", "sampling", "sure"),
    [
        (0.2, Sampling(), True),
        (0.295, Sampling(), False),
        (0.305, Sampling(), False),
        (0.3 + 0.011, Sampling(), True),
        (0.5, Sampling(temperature=0.0), True),  # 0.3 and 0.4 are ln 4/3 = 0.29 apart
        (0.2, Sampling(top_p=0.41), False),  # a little less mass in the first word, and the second one stays
        (0.2, Sampling(top_p=0.5), True),
        (0.2, Sampling(top_p=0.695), False),
        (0.2, Sampling(top_k=2), True),
    ],
)
def test_a_draw_near_another_word_is_not_sure(chance: float, sampling: Sampling, *, sure: bool):
    assert draw(WORDS, at(chance), sampling, margin=0.01).sure.tolist() == [sure]


def test_words_of_equal_mass_are_not_told_apart_for_sure():
    equal = torch.tensor([[0.3, 0.3, 0.3, 0.1]]).log()
    assert not draw(equal, at(0.2), Sampling(temperature=0.0), margin=1e-6).sure
    assert not draw(equal, at(0.2), Sampling(top_k=2), margin=1e-6).sure
    assert not draw(equal, at(0.2), Sampling(top_p=0.5), margin=1e-6).sure
    assert draw(equal, at(0.2), Sampling(top_k=3), margin=1e-6).sure


@given(
    seed=st.integers(0, 2**32),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 5, 20]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
)
def test_noise_below_the_margin_does_not_change_a_sure_draw(seed: int, temperature: float, top_k: int, top_p: float):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(200, 40, generator=generator)
    logits[:, 20:] = logits[:, :20] + 1e-4 * torch.randn(200, 20, generator=generator)  # many near ties
    chance = torch.rand(200, generator=generator, dtype=torch.float64)
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    drawn = draw(logits, chance, sampling, margin=1e-3)
    noisy = draw(logits + 1e-4 * (2 * torch.rand(200, 40, generator=generator) - 1), chance, sampling)
    assert torch.equal(drawn.ids[drawn.sure], noisy.ids[drawn.sure])
    if temperature == 1.0 and (top_k, top_p) == (0, 1.0):
        assert drawn.sure.float().mean() > 0.7


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": -0.1},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"max_new_tokens": 0},
        {"stop": ("",)},
    ],
)
def test_sampling_that_makes_no_sense_is_an_error_that_names_it(bad: dict[str, Any]):
    with pytest.raises(UsageError, match=next(iter(bad))):
        Sampling(**bad)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 0, "top_p": 1.0}, [0, 1, 2, 3]),
        ({"top_k": 2, "top_p": 1.0}, [2, 3]),
        ({"top_k": 9, "top_p": 1.0}, [0, 1, 2, 3]),
        ({"top_k": 0, "top_p": 0.39}, [3]),
        ({"top_k": 0, "top_p": 0.41}, [2, 3]),  # 0.4 does not reach it
        ({"top_k": 0, "top_p": 0.71}, [1, 2, 3]),
        ({"top_k": 0, "top_p": 0.0}, [3]),  # the likeliest always stays
        ({"top_k": 2, "top_p": 0.5}, [3]),  # of the two that are left, 0.4 is 57%
    ],
)
def test_truncation_by_hand(options: dict[str, Any], kept: list[int]):
    assert truncate(WORDS, **options)[0].isfinite().nonzero()[:, 0].tolist() == kept


def test_chance_depends_on_the_seed_alone():
    assert np.array_equal(uniforms(7, 5), uniforms(7, 50)[:5])
    assert not np.array_equal(uniforms(7, 5), uniforms(8, 5))
    drawn = uniforms(2**63 - 1, 4000)
    assert 0 <= drawn.min() < drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
