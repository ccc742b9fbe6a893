from typing import Any

import pytest

from ovrl.rollout.row import Ending

WORDS = {0: "", 1: "a", 2: "b", 3: "ab", 4: "</", 5: "answer", 6: ">", 7: ">\n", 8: " ", 9: "x"}
END = 0


class Tokenizer:
    """Joins words and strips what stands first, as some tokenizers do."""

    def decode(self, ids: list[int], **options: Any) -> str:
        return "".join(WORDS[index] for index in ids).lstrip()


def first_end(ids: list[int], *stop: str) -> int | None:
    """Return after how many tokens a completion ends."""
    ending = Ending(Tokenizer(), frozenset([END]))
    return next((count for count in range(1, len(ids) + 1) if ending.reached(ids[:count], stop)), None)


@pytest.mark.parametrize(
    ("ids", "stop", "after"),
    [
        ([1, 2, 0, 1], (), 3),  # the stop token
        ([1, 2, 1], (), None),
        ([1, 2, 1], ("c",), None),
        ([9, 1, 2, 1], ("ab",), 3),  # over two tokens
        ([9, 3, 9], ("ab",), 2),
        ([9, 3, 9], ("zz", "b"), 2),
        ([4, 5, 6, 9], ("</answer>",), 3),
        ([4, 5, 7, 9], ("</answer>",), 3),  # with more behind it in the same token
        ([*[9] * 50, 4, 5, 6], ("</answer>",), 53),
        ([*[9] * 50, 8, 4, 5, 6], (" </answer>",), 54),  # the space is first in no window
        ([1] * 30, ("a" * 20,), 20),
    ],
)
def test_a_completion_ends_with_the_token_that_completes_a_stop_string(
    ids: list[int], stop: tuple[str, ...], after: int | None
):
    assert first_end(ids, *stop) == after
