import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from ovrl.records import ImageRef, Question, Sample
from ovrl.rollout import prompt
from ovrl.rollout.tiny import make_tiny

CLEAN = """
import sys
sys.modules["torchvision"] = None  # `import torchvision` now fails, as where it is not installed
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

where, again = sys.argv[1:]
processor = AutoProcessor.from_pretrained(where)
model = AutoModelForImageTextToText.from_pretrained(where)
messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]
text = processor.apply_chat_template(messages, add_generation_prompt=True)
arguments = {"text": [text, text + "more"], "images": [Image.new("RGB", (96, 96), "red")] * 2}
inputs = processor(**arguments, padding=True, return_tensors="pt")
assert inputs["image_grid_thw"].tolist() == [[1, 8, 8]] * 2
assert inputs["pixel_values"].shape == (128, 3 * 12 * 12)
assert (inputs["input_ids"] == model.config.image_token_id).sum(1).tolist() == [16, 16]
assert inputs["attention_mask"].shape == inputs["input_ids"].shape
assert model(**inputs).logits.isfinite().all()
assert model.generate(**inputs, max_new_tokens=2, do_sample=False).shape[1] > inputs["input_ids"].shape[1]
assert model.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
processor.save_pretrained(again)
resaved = AutoProcessor.from_pretrained(again)(**arguments, padding=True, return_tensors="pt")
assert all((resaved[name] == inputs[name]).all() for name in inputs)
assert not any(name.partition(".")[0] == "ovrl" for name in sys.modules)
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model"
    make_tiny(path, seed=3, texts=["How many red circles are there?"] * 2, phrases=["<svg>"])
    return path


def digest(path: Path) -> str:
    files = sorted(file for file in path.iterdir() if file.is_file())
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


def test_plain_transformers_loads_it_without_torchvision_and_without_ovrl(tiny: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", CLEAN, str(tiny), str(tmp_path / "again")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_seed_decides_the_weights_and_nothing_else_does(tmp_path: Path):
    torch.manual_seed(11)
    make_tiny(tmp_path / "a", seed=1)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    make_tiny(tmp_path / "b", seed=1)
    make_tiny(tmp_path / "c", seed=2)
    torch.manual_seed(11)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left as it was
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def logits(path: Path, color: str) -> torch.Tensor:
    processor: Any = AutoProcessor.from_pretrained(path)
    model: Any = AutoModelForImageTextToText.from_pretrained(path)
    text = "<|vision_start|><|image_pad|><|vision_end|>How many?"
    inputs = processor(text=[text], images=[Image.new("RGB", (96, 96), color)], return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[0, -1]


def test_the_image_changes_the_logits(tiny: Path):
    assert torch.equal(logits(tiny, "red"), logits(tiny, "red"))
    assert (logits(tiny, "red") - logits(tiny, "blue")).abs().max() > 1e-3


def test_a_prompt_survives_the_tokenizer_and_fixed_sentences_are_one_token(tiny: Path):
    processor: Any = AutoProcessor.from_pretrained(tiny)
    question = Question(problem="<image>\nHow many red circles, 35?", problem_type="spatial-reasoning")
    sample = Sample(id="x", images=(ImageRef(path="x.png"),), question=question)
    text = processor.apply_chat_template(prompt.messages(sample), add_generation_prompt=True)
    tokens = processor.tokenizer(text)["input_ids"]
    assert processor.tokenizer.decode(tokens) == text
    words = [processor.tokenizer.decode([token]) for token in tokens]
    assert {prompt.SYSTEM, prompt.INSTRUCTIONS["thinking"], prompt.SPATIAL, " circles", "3", "5"} <= set(words)
    assert text.endswith("<|im_start|>assistant\n")


def test_tags_are_kept_when_special_tokens_are_dropped(tiny: Path):
    tokenizer = AutoProcessor.from_pretrained(tiny).tokenizer
    tokens = tokenizer("<think>é</think><answer><svg></answer><|im_end|>")["input_ids"]
    assert tokenizer.decode(tokens, skip_special_tokens=True) == "<think>é</think><answer><svg></answer>"
