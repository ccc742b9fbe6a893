import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from ovrl.curate.synthetic import generate
from ovrl.errors import UsageError
from ovrl.records import ImageRef, Sample
from ovrl.rejects import Rejects
from ovrl.rollout.tiny import make_tiny
from ovrl.train import warmup
from ovrl.train.warmup import IGNORED, answer_loss, collate, encode, learning_rate, plan, target, warm_up
from ovrl.train.warmup_settings import WarmupSettings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model"
    make_tiny(path, seed=3)
    return path


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(generate("warmup", 16, seed=5))


def test_a_few_samples_are_learned_and_the_directory_loads(tiny: Path, samples: list[Sample], tmp_path: Path):
    steps: list[dict[str, float]] = []
    settings = WarmupSettings(steps=20, batch_size=8, lr=3e-3)
    out = tmp_path / "warm"
    warm_up(samples, str(tiny), out, settings, seed=1, on_step=lambda step, metrics: steps.append(metrics))
    assert len(steps) == 20
    assert steps[-1]["loss"] < 0.6 * steps[0]["loss"]
    model: Any = AutoModelForImageTextToText.from_pretrained(out)
    before: Any = AutoModelForImageTextToText.from_pretrained(tiny)
    assert model.generation_config.eos_token_id == before.generation_config.eos_token_id
    assert not torch.equal(model.model.visual.patch_embed.proj.weight, before.model.visual.patch_embed.proj.weight)
    encode(AutoProcessor.from_pretrained(out), samples[0])


def test_the_same_seed_gives_the_same_losses(tiny: Path, samples: list[Sample], tmp_path: Path):
    settings = WarmupSettings(steps=2, batch_size=4)

    def losses(seed: int) -> list[float]:
        seen: list[float] = []
        warm_up(
            samples,
            str(tiny),
            tmp_path / "warm",
            settings,
            seed=seed,
            on_step=lambda _, m: seen.append(m["loss"]),
        )
        return seen

    assert losses(1) == losses(1) != losses(2)


def test_exactly_the_reply_and_its_end_carry_loss(tiny: Path, samples: list[Sample]):
    processor: Any = AutoProcessor.from_pretrained(tiny)
    for sample in samples:
        example = encode(processor, sample)
        labeled = example.labels != IGNORED
        ids = example.tokens["input_ids"]
        assert torch.equal(ids[labeled], example.labels[labeled])
        assert processor.tokenizer.decode(ids[labeled]) == target(sample) + "<|im_end|>"
        assert processor.tokenizer.decode(ids[~labeled]).endswith("<|im_start|>assistant\n")


def test_the_target_follows_the_prompt_type(samples: list[Sample]):
    sample = samples[0]
    gold, why = sample.question.answer[0], sample.question.meta["thinking"]
    assert target(sample.with_prompt_type("normal")) == f"<answer>{gold}</answer>"
    assert target(sample.with_prompt_type("thinking")) == f"<think>{why}</think><answer>{gold}</answer>"
    bare = next(generate("pool", 1, seed=5)).with_prompt_type("thinking")
    assert target(bare) == f"<think></think><answer>{bare.question.answer[0]}</answer>"


def test_the_loss_is_the_sum_over_labeled_tokens_each_predicted_by_the_one_before():
    logits = torch.zeros(1, 4, 2)
    logits[0, 1, 1] = math.log(3)  # position 1 gives token 1 three quarters, and predicts position 2
    labels = torch.tensor([[IGNORED, IGNORED, 1, 0]])
    loss, count = answer_loss(logits, labels)
    assert count == 2
    assert loss.item() == pytest.approx(math.log(4 / 3) + math.log(2))


def test_a_padded_batch_has_the_loss_of_its_samples_alone(tiny: Path, samples: list[Sample]):
    processor: Any = AutoProcessor.from_pretrained(tiny)
    model: Any = AutoModelForImageTextToText.from_pretrained(tiny)
    examples = [encode(processor, sample) for sample in samples[:4]]

    def loss(rows: list[Any]) -> float:
        inputs, labels = collate(rows, processor.tokenizer.pad_token_id)
        with torch.no_grad():
            return answer_loss(model(**inputs).logits, labels)[0].item()

    assert loss(examples) == pytest.approx(sum(loss([example]) for example in examples), rel=1e-4)


def test_an_epoch_shows_every_sample_once():
    batches = plan(10, steps=5, batch_size=4, seed=1)
    order = [index for batch in batches for index in batch]
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert batches != plan(10, steps=5, batch_size=4, seed=2)


@pytest.mark.parametrize(
    ("step", "want"),
    [
        (0, 0.1),  # a tenth of the rise
        (9, 1.0),  # its end
        (10, 1.0),  # the cosine begins
        (55, 0.55),  # its middle
        (100, 0.1),  # it ends at a tenth
    ],
)
def test_the_learning_rate_rises_and_falls(step: int, want: float):
    assert learning_rate(step, WarmupSettings(steps=100, lr=1.0, warmup_share=0.1)) == pytest.approx(want)


def test_samples_that_are_all_too_long_are_refused(tiny: Path, samples: list[Sample], tmp_path: Path):
    settings = WarmupSettings(steps=1, max_length=8)
    with pytest.raises(UsageError, match="none of the 16"):
        warm_up(samples, str(tiny), tmp_path / "warm", settings, seed=1, on_step=lambda step, metrics: None)


def test_a_stopped_warmup_goes_on_where_it_was_and_ends_the_same(
    tiny: Path, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(warmup, "SAVE_EVERY", 2)
    settings = WarmupSettings(steps=6, batch_size=4)
    seen: list[int] = []

    def stop(step: int, figures: dict[str, float]) -> None:
        seen.append(step)
        if seen == [1, 2, 3, 4, 5]:
            raise KeyboardInterrupt

    warm_up(samples, str(tiny), tmp_path / "whole", settings, seed=1, on_step=lambda step, figures: None)
    with pytest.raises(KeyboardInterrupt):
        warm_up(samples, str(tiny), tmp_path / "broken", settings, seed=1, on_step=stop)
    assert warmup.saved_steps(tmp_path / "broken") == 4
    warm_up(samples, str(tiny), tmp_path / "broken", settings, seed=1, on_step=stop)
    assert seen == [1, 2, 3, 4, 5, 5, 6]
    whole, again = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert not (tmp_path / "broken" / "state.pt").exists()


def test_a_damaged_picture_is_a_reject_and_not_the_end(tiny: Path, samples: list[Sample], tmp_path: Path):
    torn = replace(samples[0], id="torn", images=(ImageRef(data=b"no image"),))
    rejects = Rejects(None)
    settings = WarmupSettings(steps=1, batch_size=4)
    warm_up([torn, *samples], str(tiny), tmp_path, settings, seed=1, on_step=lambda *_: None, rejects=rejects)
    assert dict(rejects.reasons) == {"images": 1}
