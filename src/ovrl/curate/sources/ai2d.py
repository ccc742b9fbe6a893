"""AI2D as in the Cauldron (HuggingFaceM4/the_cauldron, config ai2d).

Raw row: `images`, `texts` (a list of {`user`, `assistant`}, each a question about the same images; the question
ends in an instruction, the answer begins with "Answer: ").
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text, with_marks

_INSTRUCTION = "Answer with the letter."


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return one sample for each of the row's questions."""
    del seed
    pictures = images(row, "images")
    samples: list[dict[str, Any]] = []
    for turn in row["texts"]:
        answer = text(turn, "assistant").removeprefix("Answer:").strip()
        is_letter = len(answer) == 1 and answer.isascii() and answer.isupper()
        samples.append(
            {
                "images": pictures,
                "problem": with_marks(text(turn, "user").replace(_INSTRUCTION, "").strip(), len(pictures)),
                "answer": [answer],
                "answer_type": "multiple-choice" if is_letter else "any",
                "problem_type": "stem",
                "prompt_type": "normal",
                "source": "ai2d",
            }
        )
    return samples
