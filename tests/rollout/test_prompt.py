from pathlib import Path
from typing import Any

import pytest
from transformers import AutoProcessor

from builders import picture, ref, sample
from ovrl.errors import RecordError
from ovrl.records import ImageRef, Sample
from ovrl.rollout import prompt
from ovrl.rollout.tiny import make_tiny

GOLDEN = Path(__file__).parents[1] / "golden"

ANSWER = "Put ONLY your final answer within <answer></answer>."
THINK = "Think step by step before you answer. Put your thinking within <think></think>. " + ANSWER
BOXES = "Before reasoning, give the coordinates (x, y, x, y) of every object that the question involves."

CASES: dict[str, Sample] = {
    "normal": sample(),
    "thinking": sample(prompt_type="thinking"),
    "guided": sample(prompt_type="thinking", format_guidance=" Give a whole number. \n"),
    "spatial": sample(prompt_type="thinking", problem_type="spatial-reasoning"),
    "spatial-normal": sample(problem_type="spatial-reasoning"),
    "two-images": sample(images=(ref("red"), ref("blue")), problem="Is <image> above\n<image>?"),
    "text-only": sample(images=(), problem="What is 1 + 1?"),
}


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("normal", f"{ANSWER}\n<image>How many?"),
        ("thinking", f"{THINK}\n<image>How many?"),
        ("guided", f"{THINK} Give a whole number.\n<image>How many?"),
        ("spatial", f"{THINK}\n{BOXES}\n<image>How many?"),
        ("spatial-normal", f"{ANSWER}\n<image>How many?"),  # boxes belong into a chain of thought
        ("two-images", f"{ANSWER}\nIs <image> above\n<image>?"),
        ("text-only", f"{ANSWER}\nWhat is 1 + 1?"),
    ],
)
def test_the_user_turn_is_the_recipe_to_the_letter(name: str, want: str):
    assert prompt.user_text(CASES[name]) == want


def test_each_mark_becomes_an_image_part_in_its_place():
    system, user = prompt.messages(CASES["two-images"])
    assert system == {"role": "system", "content": [{"type": "text", "text": "You are a helpful AI assistant."}]}
    assert user["content"] == [
        {"type": "text", "text": f"{ANSWER}\nIs "},
        {"type": "image"},
        {"type": "text", "text": " above\n"},
        {"type": "image"},
        {"type": "text", "text": "?"},
    ]


@pytest.mark.parametrize(
    ("problem", "count", "reason"),
    [
        ("How many?", 1, "0 <image> marks for 1 image;"),
        ("<image>?", 0, "1 <image> mark for 0 images;"),
        ("<image><image>?", 1, "2 <image> marks for 1 image;"),
        ("<image>?", 2, "1 <image> mark for 2 images;"),
    ],
)
def test_marks_and_images_must_be_as_many(problem: str, count: int, reason: str):
    with pytest.raises(RecordError, match=reason) as caught:
        prompt.build(sample(problem=problem, images=(ref(),) * count))
    assert caught.value.field == "problem"


def test_images_are_opened_in_order_and_inside_the_budget():
    images = (ImageRef(data=picture((64, 64), "red")), ImageRef(data=picture((8, 8), (0, 0, 255, 0), mode="RGBA")))
    built = prompt.build(sample(images=images, problem="<image><image>"), max_pixels=256)
    assert [image.size for image in built.images] == [(16, 16), (8, 8)]
    assert [image.getpixel((0, 0)) for image in built.images] == [(255, 0, 0), (255, 255, 255)]


def test_the_digest_changes_with_any_template(monkeypatch: pytest.MonkeyPatch):
    before = prompt.digest()
    monkeypatch.setattr(prompt, "SPATIAL", "Where?")
    assert prompt.digest() != before


@pytest.fixture(scope="session")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("prompt") / "model"
    make_tiny(path, seed=3)
    return AutoProcessor.from_pretrained(path)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_tiny_models_template_renders_as_committed(processor: Any, name: str):
    conversation = prompt.messages(CASES[name])
    rendered = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    assert rendered == (GOLDEN / f"prompt-{name}.txt").read_text(encoding="utf-8")
