import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.format import reward

THOUGHT = "<think>" + "".join(f"Cube number {n} on the left is red. " for n in range(5)) + "</think>"


@pytest.mark.parametrize(
    ("text", "strict", "ov15"),
    [
        (THOUGHT + "\\boxed{4}", 1.0, 1.0),
        (THOUGHT + "<answer>4</answer>", 1.0, 0.0),  # what the prompt asks for
        (THOUGHT + "<answer></answer>", 0.0, 0.0),
        (THOUGHT + "4", 0.0, 0.0),
        (THOUGHT, 0.0, 0.0),
        ("\\boxed{4}", 0.0, 0.0),
        ("\\boxed{4}" + THOUGHT, 0.0, 0.0),
        (THOUGHT * 2 + "\\boxed{4}", 0.0, 0.0),
        ("<think></think>\\boxed{4}", 0.0, 1.0),  # nothing was thought
        ("<think>....</think>\\boxed{4}", 0.0, 1.0),
        (THOUGHT + "\\boxed{4}\\boxed{5}", 0.0, 1.0),
        ("<think>" + "What is shown? " * 10 + "</think>\\boxed{4}", 0.0, 1.0),  # the same again and again
        ("<think>" + "图中有什么？" * 10 + "</think>\\boxed{4}", 0.0, 1.0),
        ("<think>" + "Both corners are square. " * 3 + "</think>\\boxed{4}", 1.0, 1.0),
        ("<think>a</think>\\boxed{4}", 1.0, 1.0),  # too short to repeat itself
        (THOUGHT + "\\boxed{" + 90 * "4" + "}", 0.0, 1.0),  # more than a fifth
        (THOUGHT + "<answer>\\boxed{" + 90 * "4" + "}</answer>", 0.0, 0.0),
    ],
)
def test_form(text: str, strict: float, ov15: float):
    assert reward(text, "strict") == strict
    assert reward(text, "ov15") == ov15


@given(st.lists(st.sampled_from(["<think>", "</think>", "\\boxed{", "}", "<answer>", "</answer>", "a"])).map("".join))
def test_is_zero_or_one(text: str):
    assert {reward(text, "strict"), reward(text, "ov15")} <= {0.0, 1.0}
