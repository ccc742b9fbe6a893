"""What a category makes of a random generator and a level: a picture, a question, its answer."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

from ovrl.records import AnswerType

Level = Literal["trivial", "easy", "medium", "hard", "impossible"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From nearly always solved to never: what `impossible` asks for is not in the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sample before it has an id, a split and a prompt type."""

    image: Image.Image
    problem: str
    """The question, without the image mark."""
    answer: str
    answer_type: AnswerType
    problem_type: str
    thinking: str
    """A short correct rationale that ends where the answer begins; for the supervised warm-up only."""


Category = Callable[[random.Random, Level], Draft]
