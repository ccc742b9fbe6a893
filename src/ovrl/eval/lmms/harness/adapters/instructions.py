"""Upstream's own instructions about the form of an answer, which would stand against ours."""

import re

_SENTENCES = (
    r"Answer with the option's letter from the given choices directly",
    r"Answer with the option letter from the given choices directly",
    r"Please answer directly with only the letter of the correct option and nothing else",
    r"Please answer directly with a single word or number",
    r"Only output the letter of the correct option and nothing else",
    r"Select the best answer to the above multiple-choice question based on the image",
    r"Respond with only the letter \(A, B, C, D, or E\) of the correct option",
    r"The best answer is:?",
    r"根据图像选择上述多项选择题的最佳答案。?只需回答正确选项的字母（A, B, C, D 或 E）",
    r"最佳答案为[：:]?",
    r"请直接使用所提供的选项字母作为答案回答",
    r"Answer the question using a single word or phrase",
    r"Answer the question with a (?:single word|number directly)",
    r"Answer with a single number",
)
_LAST = re.compile(rf"\s*(?:{'|'.join(_SENTENCES)})[.。]?\s*\Z")
_FIRST = re.compile(r'\A\s*Please solve the problem step by step and put your answer in one "\\boxed\{\}"\.')


def without(text: str) -> str:
    """Return the question without the instructions in front of it and at its end."""
    text = _FIRST.sub("", text)
    while found := _LAST.search(text):
        text = text[: found.start()]
    return text
