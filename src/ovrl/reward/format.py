"""Score the form of a completion: think first, then a short answer. No task pays it by default."""

import re

from ovrl.reward.extract import answer_blocks, spoken, think_blocks
from ovrl.reward.outcome import Mode

MAX_SHARE = 0.2
"""The answer may take up this share of the completion."""

MIN_DIFFERENT = 0.25
"""A thought with less than this share of different stretches of 8 characters says the same again and again."""
_STRETCH, _MIN_STRETCHES = 8, 16

_BOXED = "\\boxed{"


def reward(completion: str, mode: Mode) -> float:
    r"""Return 1.0 for exactly one think block followed by an answer of at most `MAX_SHARE`, else 0.0.

    The answer is `\boxed{...}` or, in `strict`, an `<answer>` block. `ov15` accepts only the former, but
    measures the latter; `strict` also wants a thought that has letters and does not repeat itself
    (`MIN_DIFFERENT`), and no pile of boxes.
    """
    if completion.count("<think>") != 1 or completion.count("</think>") != 1:
        return 0.0
    start = completion.find("<think>")
    end = completion.find("</think>", start)
    if end < 0:
        return 0.0
    tail = completion[end + len("</think>") :]
    boxed = tail.find(_BOXED)
    is_boxed = boxed >= 0 and tail.find("}", boxed + len(_BOXED)) >= 0
    if mode == "ov15":
        return float(is_boxed and _share(completion) <= MAX_SHARE)
    thought = think_blocks(completion)[0]
    if not re.search(r"\w", thought) or _repeats_itself(thought):
        return 0.0
    answers = answer_blocks(spoken(completion, mode))
    is_answered = any(answer.strip() for answer in answers)
    is_piled = tail.count(_BOXED) > 1 or len(answers) > 1
    if is_piled or not (is_boxed or is_answered):
        return 0.0
    content = len(tail) - boxed - len(_BOXED) if is_boxed and not is_answered else 0
    share = max(_share(completion) if is_boxed else 0.0, content / len(completion))
    return float(share <= MAX_SHARE)


def _repeats_itself(thought: str) -> bool:
    count = len(thought) - _STRETCH + 1
    stretches = {thought[start : start + _STRETCH] for start in range(count)}
    return count >= _MIN_STRETCHES and len(stretches) < MIN_DIFFERENT * count


def _share(completion: str) -> float:
    """Return how much of the completion its answer blocks take, counted with the original's 9 extra."""
    return sum(len(block) + 9 for block in answer_blocks(completion)) / max(1, len(completion))
