"""The model against the figures of the released code, and against itself in other forms of the same batch."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen2VLImageProcessorPil
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from builders import ref, sample
from ovrl import parquet
from ovrl.cli.main import run
from ovrl.curate.synthetic import generate
from ovrl.rollout import prompt
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.models.llava_onevision1_5.configuration import LlavaOnevision15Config
from ovrl.rollout.models.llava_onevision1_5.model import LLaVAOneVision1_5_ForConditionalGeneration as Model
from ovrl.rollout.models.llava_onevision1_5.processor import LlavaOnevision15Processor
from ovrl.rollout.policy import Policy
from ovrl.rollout.tiny import make_tiny
from ovrl.rollout.transformers_engine import TransformersEngine

RELEASED = Path(__file__).parent / "released"
FIGURES = dict(np.load(RELEASED / "figures.npz"))
SETUP = json.loads((RELEASED / "cases.json").read_text())
CASES = list(SETUP["cases"])
INPUTS = ("input_ids", "attention_mask", "labels", "image_grid_thw", "pixel_values")
IMAGE, START, END = 40, 42, 43

TOLERANCE = 1e-5


pytestmark = pytest.mark.usefixtures("one_thread")


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a tensor's values; the recipe is described beside the figures."""
    digest = hashlib.sha256(f"{SETUP['seed']}:{name}".encode()).digest()
    values = np.random.RandomState(int.from_bytes(digest[:4], "little")).standard_normal(shape)
    if name.endswith(".bias"):
        values *= 0.1
    elif len(shape) == 1 and name.endswith(".weight"):
        values = 1 + 0.2 * values
    elif "class_" not in name:
        values /= np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def build(config: str = "grouped", *, attention: str = "sdpa", **vision: Any) -> Model:
    settings = LlavaOnevision15Config(**json.loads(json.dumps(SETUP["configs"][config])))
    for key, value in vision.items():
        setattr(settings.vision_config, key, value)
    settings._attn_implementation = attention
    model = Model(settings).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape))))
    return model


def inputs(case: str) -> dict[str, Tensor]:
    found = {name: FIGURES[f"{case}/{name}"] for name in INPUTS if f"{case}/{name}" in FIGURES}
    return {
        name: torch.from_numpy(value if value.dtype == np.float32 else value.astype(int))
        for name, value in found.items()
    }


def gradients(model: Model) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_near(found: Tensor, expected: Tensor | np.ndarray, what: str = "", tolerance: float = TOLERANCE) -> None:
    difference = (found.detach() - torch.as_tensor(expected)).abs().max()
    assert difference <= tolerance, f"{what}: {float(difference)}"


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("case", CASES)
def test_logits_loss_and_gradients_are_those_of_the_released_code(case: str, attention: str):
    model, batch = build(SETUP["cases"][case], attention=attention), inputs(case)
    out = model(**batch)
    out.loss.backward()
    real = batch["attention_mask"] == 1
    assert_near(out.logits[real], FIGURES[f"{case}/logits"][real.numpy()], "logits")
    assert_near(out.loss, FIGURES[f"{case}/loss"], "loss")
    prefix = f"{case}/grad/"
    expected = {name.removeprefix(prefix): value for name, value in FIGURES.items() if name.startswith(prefix)}
    found = gradients(model)
    assert set(found) == set(expected)
    assert any("visual" in name for name in found) == (case != "text")
    for name, value in expected.items():
        assert_near(found[name], value, name)


@pytest.mark.parametrize("case", ["several", "odd", "mixed", "tied-mixed"])
def test_the_slip_of_the_released_code_can_be_repeated(case: str):
    batch = inputs(case)
    real = batch["attention_mask"] == 1
    expected = FIGURES[f"{case}/shifted/logits"][real.numpy()]
    shifted = build(SETUP["cases"][case], shifted_features=True)(**batch)
    assert_near(shifted.logits[real], expected)
    assert_near(shifted.loss, FIGURES[f"{case}/shifted/loss"])
    right = build(SETUP["cases"][case])(**batch)
    assert np.abs(right.logits[real].detach().numpy() - expected).max() > 0.1


def test_an_image_does_not_know_what_is_beside_it():
    batch, tower = inputs("odd"), build().visual
    whole = tower(batch["pixel_values"], batch["image_grid_thw"])
    parts = batch["pixel_values"].split(batch["image_grid_thw"].prod(1).tolist())
    alone = [tower(part, grid[None]) for part, grid in zip(parts, batch["image_grid_thw"], strict=True)]
    assert_near(whole, torch.cat(alone))


def test_flash_attention_gets_the_images_as_sequences(monkeypatch: pytest.MonkeyPatch):
    """No kernel runs here: a stand-in attends within the lengths that it is told."""

    def varlen(module: Any, query: Tensor, key: Tensor, value: Tensor, **given: Any) -> tuple[Tensor, None]:
        assert not given["is_causal"]
        assert given["attention_mask"] is None
        ends = given["cu_seq_lens_q"]
        assert ends.dtype == torch.int32
        assert torch.equal(ends, given["cu_seq_lens_k"])
        assert given["max_length_q"] == given["max_length_k"] == int(ends.diff().max())
        pieces = [part.split(ends.diff().tolist(), dim=2) for part in (query, key, value)]
        mixed = [
            functional.scaled_dot_product_attention(q, k, v, scale=given["scaling"])
            for q, k, v in zip(*pieces, strict=True)
        ]
        return torch.cat(mixed, dim=2).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "flash_attention_2", varlen)
    batch, tower = inputs("several"), build().visual
    expected = tower(batch["pixel_values"], batch["image_grid_thw"])
    tower.config._attn_implementation = "flash_attention_2"
    assert_near(tower(batch["pixel_values"], batch["image_grid_thw"]), expected)


def test_packed_is_padded():
    model, batch = build(), inputs("mixed")
    padded = model(**batch)
    padded.loss.backward()
    expected, real = gradients(model), batch["attention_mask"] == 1
    model = build()
    packed = model(
        input_ids=batch["input_ids"][real][None],
        position_ids=torch.cat([torch.arange(int(length)) for length in real.sum(1)])[None],
        labels=batch["labels"][real][None],
        pixel_values=batch["pixel_values"],
        image_grid_thw=batch["image_grid_thw"],
        use_cache=False,
    )
    packed.loss.backward()
    assert_near(packed.logits[0], padded.logits[real].detach())
    assert_near(packed.loss, padded.loss.detach())
    for name, value in gradients(model).items():
        assert_near(value, expected[name], name)


def test_padding_may_stand_on_either_side():
    model, batch = build(), inputs("mixed")
    expected = model(**batch).logits[batch["attention_mask"] == 1]
    for name in ("input_ids", "attention_mask", "labels"):
        batch[name] = torch.stack(
            [
                row.roll(int(mask.sum()))
                for row, mask in zip(batch[name], inputs("mixed")["attention_mask"], strict=True)
            ]
        )
    assert_near(model(**batch).logits[batch["attention_mask"] == 1], expected.detach())


def test_a_row_without_images_is_what_it_is_alone():
    model, batch = build(), inputs("mixed")
    row = batch["input_ids"][0][batch["attention_mask"][0] == 1]
    assert IMAGE not in row
    together = model(**batch).logits[0][batch["attention_mask"][0] == 1].detach()
    assert_near(model(input_ids=row[None]).logits[0], together)
    none = {"pixel_values": batch["pixel_values"][:0], "image_grid_thw": batch["image_grid_thw"][:0]}
    assert_near(model(input_ids=row[None], **none).logits[0], together)


def test_gradient_checkpointing_changes_no_gradient():
    batch = inputs("mixed")
    plain, thrifty = build().train(), build().train()
    thrifty.gradient_checkpointing_enable()
    calls: list[int] = []
    thrifty.visual.blocks[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    for model in (plain, thrifty):
        model(**batch).loss.backward()
    assert len(calls) == 2  # once more on the way back
    for name, value in gradients(plain).items():
        assert_near(gradients(thrifty)[name], value, name)


def test_new_weights_have_the_scale_that_the_layers_expect():
    config = LlavaOnevision15Config(**json.loads(json.dumps(SETUP["configs"]["grouped"])))
    config.vision_config.hidden_size, config.vision_config.num_heads = 512, 2
    torch.manual_seed(0)
    tower = Model(config).visual
    assert 0.9 < float(tower.class_pos_emb.detach().std()) < 1.1
    assert 0.9 < float(tower.class_embedding.detach().std()) * 512**0.5 < 1.1
    assert 0.9 < float(tower.blocks[0].mlp.fc1.weight.detach().std()) / 0.02 < 1.1


def test_only_the_logits_that_are_asked_for_are_made():
    model, batch = build(), inputs("one")
    batch.pop("labels")
    whole = model(**batch).logits.detach()
    assert_near(model(**batch, logits_to_keep=2).logits, whole[:, -2:])
    assert_near(model(**batch, logits_to_keep=torch.tensor([0, 3])).logits, whole[:, [0, 3]])


def test_generation_with_a_cache_is_what_full_passes_choose():
    model, batch = build(), inputs("mixed")
    batch.pop("labels")
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    made = model.generate(**batch, **settings)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    for _ in range(6):
        seen = {**batch, "input_ids": ids, "attention_mask": mask}
        ids = torch.cat([ids, model(**seen).logits[:, -1:].argmax(-1)], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    assert torch.equal(made, ids)


def test_a_row_is_repeated_with_its_own_images():
    model, batch = build(), inputs("mixed")
    batch.pop("labels")
    settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    once = model.generate(**batch, **settings)
    expanded, images = model._expand_inputs_for_generation(2, input_ids=batch["input_ids"], **_without_ids(batch))
    thrice = model(input_ids=expanded, **images).logits[:, -1]
    assert_near(thrice, model(**batch).logits[:, -1].detach().repeat_interleave(2, dim=0))
    beams = model.generate(**batch, **settings | {"do_sample": True, "top_k": 1}, num_return_sequences=3)
    assert torch.equal(beams, once.repeat_interleave(3, dim=0))


def _without_ids(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "input_ids"}


def test_bfloat16_goes_both_ways_and_stays_near():
    batch = inputs("mixed")
    exact = build()(**batch).logits.detach()
    model = build().to(torch.bfloat16)
    out = model(**batch)
    out.loss.backward()
    assert out.logits.dtype == torch.bfloat16
    assert all(torch.isfinite(value).all() for value in gradients(model).values())
    real = batch["attention_mask"] == 1
    assert functional.cosine_similarity(out.logits[real].float().flatten(), exact[real].flatten(), dim=0) > 0.99


def test_what_does_not_fit_together_is_refused():
    model, batch = build(), inputs("one")
    with pytest.raises(ValueError, match=r"5 image tokens for 6 image features"):
        model(**batch | {"input_ids": batch["input_ids"].where(torch.arange(batch["input_ids"].shape[1]) != 5, 1)})
    with pytest.raises(ValueError, match=r"\(24, 24\).*\(24, 12\).*patch_size=2, temporal_patch_size=1"):
        model(**batch | {"pixel_values": batch["pixel_values"].repeat(1, 2)})
    with pytest.raises(ValueError, match="input_ids and image_grid_thw"):
        model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"])


# ---------------------------------------------------------------- directories


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny(path, seed=3, texts=["How many red circles are there?"] * 2, family="llavaonevision1_5")
    return path


def test_a_released_configuration_builds_the_released_tensors(tmp_path: Path):
    (tmp_path / "config.json").write_bytes((RELEASED / "config_8b.json").read_bytes())
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, LlavaOnevision15Config)
    assert config.text_config.rope_parameters["rope_theta"] == 1_000_000
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    released = json.loads((RELEASED / "tensors_8b.json").read_text())
    depth = {"blocks": 24, "layers": 36}
    expected: dict[str, list[int]] = {}
    for pattern, shape in released["tensors"].items():
        repeated = next((depth[part] for part in depth if f"{part}.#" in pattern), 1)
        expected |= {pattern.replace("#", str(number)): shape for number in range(repeated)}
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == expected
    assert len(expected) == 698
    assert sum(parameter.numel() for parameter in model.parameters()) == released["parameters"]


def test_the_defaults_are_those_of_the_4b_model():
    with torch.device("meta"):
        model = Model(LlavaOnevision15Config())
    assert model.config.text_config.rope_parameters["rope_theta"] == 5_000_000
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_741_610_528  # by the released classes


FRESH = """
import sys
sys.modules["torchvision"] = None  # `import torchvision` now fails, as where it is not installed
import torch
import ovrl.rollout.models
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1])
processor = AutoProcessor.from_pretrained(sys.argv[1])
text = "<|vision_start|><|image_pad|><|vision_end|>How many?"
inputs = processor(text=[text], images=[Image.new("RGB", (96, 48), "red")], return_tensors="pt")
torch.save(model(**inputs).logits, sys.argv[2])
"""


def test_a_saved_directory_loads_in_a_fresh_process(tiny: Path, tmp_path: Path):
    policy = Policy.load(str(tiny), device="cpu")
    policy.save(tmp_path / "again")
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path / "again"), str(tmp_path / "logits.pt")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    text = "<|vision_start|><|image_pad|><|vision_end|>How many?"
    given = policy.processor(text=[text], images=[Image.new("RGB", (96, 48), "red")], return_tensors="pt")
    assert_near(torch.load(tmp_path / "logits.pt"), policy.model(**given).logits.detach())
    with safe_open(tmp_path / "again" / "model.safetensors", "pt") as file:
        names = file.keys()
    assert {name.split(".")[0] for name in names} == {"visual", "model"}  # the head is tied
    assert json.loads((tmp_path / "again" / "config.json").read_text())["architectures"] == [Model.__name__]
    assert [path.name for path in (tmp_path / "again").iterdir() if path.suffix == ".py"] == []


def released_directory(tiny: Path, path: Path) -> Model:
    """Write a directory as transformers 4 and the remote code leave it, and return the model that it holds."""
    model = build("tied")
    path.mkdir()
    settings = json.loads((RELEASED / "config_8b.json").read_text())
    for part in ("text_config", "vision_config"):
        settings[part] |= SETUP["configs"]["tied"][part]
    settings["text_config"]["tie_word_embeddings"] = False
    settings |= {"image_token_id": IMAGE, "vocab_size": 48}
    (path / "config.json").write_text(json.dumps(settings))
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    tensors["lm_head.weight"] *= 2
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (path / name).write_bytes((tiny / name).read_bytes())
    images = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "processor_class": "Qwen2_5_VLProcessor",
        "patch_size": 3,
        "temporal_patch_size": 1,
        "merge_size": 2,
        "min_pixels": 36,
        "max_pixels": 2560000,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (path / "preprocessor_config.json").write_text(json.dumps(images))
    return model


def test_a_released_directory_loads_by_name(tiny: Path, tmp_path: Path):
    model = released_directory(tiny, tmp_path / "released")
    policy = Policy.load(str(tmp_path / "released"), device="cpu", dtype="float32")
    assert isinstance(policy.processor, LlavaOnevision15Processor)
    assert policy.flat_positions
    batch = inputs("tied-mixed")
    real = batch["attention_mask"] == 1
    assert_near(policy.model(**batch).logits[real], 2 * model(**batch).logits[real].detach(), tolerance=2 * TOLERANCE)


# ---------------------------------------------------------------- processor


def test_pixels_are_those_of_the_released_processor():
    picture = Image.fromarray(FIGURES["picture"])
    made = Qwen2VLImageProcessorPil(temporal_patch_size=1, min_pixels=28 * 28, max_pixels=1600 * 1600)(
        picture, return_tensors="pt"
    )
    assert made["image_grid_thw"].tolist() == FIGURES["picture/image_grid_thw"].tolist()
    assert_near(made["pixel_values"], FIGURES["picture/pixel_values"])


def test_each_image_becomes_as_many_tokens_as_it_needs(tiny: Path, tmp_path: Path):
    policy = Policy.load(str(tiny), device="cpu")
    samples = [
        sample("two", images=(ref("red"), ref("blue", (72, 48))), problem="Is <image> like <image>?"),
        sample("text", images=(), problem="What is 35 + 7?"),
    ]
    prompts = [prompt.build(one) for one in samples]
    encoded = policy.encode(prompts)
    assert set(encoded.extras) == {"pixel_values", "image_grid_thw"}
    assert encoded.extras["image_grid_thw"].tolist() == [[1, 2, 2], [1, 4, 6]]
    image = policy.processor.image_token_id
    assert (encoded.input_ids == image).sum(1).tolist() == [1 + 6, 0]
    last = encoded.input_ids[1][encoded.attention_mask[1] == 1]
    expected = policy.processor.apply_chat_template(prompts[1].messages, add_generation_prompt=True, tokenize=False)
    assert policy.tokenizer.decode(last) == expected
    policy.processor.save_pretrained(tmp_path)
    again = LlavaOnevision15Processor.from_pretrained(tmp_path)
    text = ["<|vision_start|><|image_pad|><|vision_end|>?"]
    for name, value in again(text=text, images=[prompts[0].images[1]], return_tensors="pt").items():
        assert torch.equal(value, policy.processor(text=text, images=[prompts[0].images[1]], return_tensors="pt")[name])


# ---------------------------------------------------------------- commands


def test_a_completion_does_not_know_what_is_beside_it(tiny: Path):
    policy = Policy.load(str(tiny), device="cpu", dtype="float32")
    samples = [
        sample("one", problem="<image>How many red circles are there, 1 or 2?"),
        sample("text", images=(), problem="What is 35 + 7?"),
        sample("two", images=(ref("red"), ref("blue", (72, 48))), problem="Is <image> like <image>?"),
    ]
    requests = [
        Request(id=one.id, prompt=prompt.build(one), seeds={0: 5, 1: 6, 2: 7}, sampling=Sampling(max_new_tokens=8))
        for one in samples
    ]
    found = [
        {
            (made.request_id, made.k): made.token_ids
            for made in TransformersEngine(policy, batch_size=size).generate(asked)
        }
        for size, asked in ((64, requests), (1, requests[::-1]))
    ]
    assert len(found[0]) == 9
    assert found[0] == found[1]


def test_rollout_training_and_evaluation_run_on_it(tiny: Path, tmp_path: Path):
    pool = tmp_path / "pool.parquet"
    parquet.write_samples(pool, generate("pool", 3, 5))
    rollouts = tmp_path / "completions.jsonl"
    asked = ["--model", str(tiny), "-q"]
    assert run(["rollout", str(pool), *asked, "-n", "2", "--max-new-tokens", "6", "-o", str(rollouts)]) == 0
    assert len(rollouts.read_text().splitlines()) == 6
    rule = tmp_path / "parity.py"
    rule.write_text("def score(record):\n    return float(len(record['completion']) % 2)\n")
    changes = {
        "steps": 1,
        "batch.groups": 2,
        "batch.group_size": 4,
        "sampling.max_new_tokens": 6,
        "score.reward": f"{rule}:score",
        "score.workers": 1,
        "learner.gradient_checkpointing": "true",
    }
    settings = [argument for key, value in changes.items() for argument in ("-s", f"train.{key}={value}")]
    assert run(["train", "--stage", "1", "-i", str(pool), *asked, "-o", str(tmp_path / "run"), *settings]) == 0
    trained = Policy.load(str(tmp_path / "run" / "final"), device="cpu").model.state_dict()
    before = Policy.load(str(tiny), device="cpu").model.state_dict()
    moved = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, trained[name])}
    assert moved == {"visual", "model", "lm_head"}
    final = ["--model", str(tmp_path / "run" / "final"), "--samples", str(pool), "-q"]
    assert run(["eval", *final, "-o", str(tmp_path / "eval"), "-s", "eval.sampling.max_new_tokens=6"]) == 0
    assert (tmp_path / "eval" / "results.json").exists()
