"""Turn drafts into samples: which category and level comes next, which split it belongs to, its id."""

import hashlib
import io
import random
from collections.abc import Iterator
from typing import Literal, get_args

from ovrl.curate.synthetic import (
    counting,
    diagram,
    grounding,
    html,
    inventory,
    ocr,
    spatial,
    stem,
    svg,
)
from ovrl.curate.synthetic.draft import LEVELS, Category, Draft, Level
from ovrl.records import IMAGE_MARK, ImageRef, PromptType, Question, Sample, derive_seed

Split = Literal["primer", "warmup", "pool", "heldout"]
"""`primer` teaches to see (inventories only), `warmup` to answer; training and evaluation take the others."""
SPLITS: tuple[Split, ...] = get_args(Split)

CATEGORIES: dict[str, Category] = {
    "counting": counting.draw,
    "grounding": grounding.draw,
    "spatial": spatial.draw,
    "stem": stem.draw,
    "diagram": diagram.draw,
    "ocr": ocr.draw,
    "html": html.draw,
    "svg": svg.draw,
}
"""Name, which is also the end of `source`, to the function that draws it."""

PRIMER: dict[str, Category] = {"inventory": inventory.draw}
"""The same for the primer."""

_MIX: dict[Split, tuple[float, ...]] = {
    "primer": (0.0, 0.4, 0.6, 0.0, 0.0),
    "warmup": (0.25, 0.35, 0.25, 0.15, 0.0),
    "pool": (0.10, 0.30, 0.30, 0.20, 0.10),
    "heldout": (0.10, 0.30, 0.30, 0.20, 0.10),
}
"""Share of each level. A model that has never seen `impossible` guesses there, as it should."""

_SHARES: dict[Split, range] = {
    "primer": range(10),
    "warmup": range(5),
    "pool": range(5, 8),
    "heldout": range(8, 10),
}
"""Tenths of the space of content digests that belong to each split; this keeps the splits disjoint.

Nobody else asks the question of the primer, so it may have all of them.
"""


def generate(split: Split, count: int, seed: int) -> Iterator[Sample]:
    """Yield `count` different samples: the categories in turn, levels at random, half of them `thinking`.

    The primer has one category and no thinking.

    Deterministic, and a longer run begins with the shorter one. No picture with its problem occurs in two
    splits, whatever their seeds. Only `warmup` samples carry `meta["thinking"]`, a rationale.
    """
    if split not in _SHARES:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    categories = PRIMER if split == "primer" else CATEGORIES
    names = list(categories)
    seen: set[str] = set()
    for index in range(count):
        name = names[index % len(names)]
        thinks = split != "primer" and index // len(names) % 2 == 1
        prompt_type: PromptType = "thinking" if thinks else "normal"
        draft, level, digest = _draw(split, categories[name], derive_seed(seed, split, index), seen)
        seen.add(digest)
        yield _sample(split, name, draft, level, digest, prompt_type)


def texts(count: int = 2000) -> Iterator[str]:
    """Yield problems, answers and rationales, to train a tokenizer on. Random codes are left out."""
    categories = {**CATEGORIES, **PRIMER}
    names = list(categories)
    for index in range(count):
        name = names[index % len(names)]
        rng = random.Random(derive_seed(0, "texts", index))
        draft = categories[name](rng, rng.choice(LEVELS[:2] if name == "ocr" else LEVELS))
        yield from (draft.problem, draft.answer, draft.thinking)


def _draw(split: Split, category: Category, seed: int, seen: set[str]) -> tuple[Draft, Level, str]:
    """Return the first draft from `seed` whose digest falls to the split and is new."""
    rng = random.Random(seed)
    while True:
        level = rng.choices(LEVELS, _MIX[split])[0]
        draft = category(rng, level)
        hashed = hashlib.sha256(draft.image.tobytes() + draft.problem.encode())
        digest = hashed.hexdigest()[:16]
        if int(digest, 16) % 10 in _SHARES[split] and digest not in seen:
            return draft, level, digest


def _sample(split: Split, name: str, draft: Draft, level: Level, digest: str, prompt_type: PromptType) -> Sample:
    encoded = io.BytesIO()
    draft.image.save(encoded, "PNG")
    meta = {"difficulty": level}
    if split == "warmup":
        meta["thinking"] = draft.thinking
    return Sample(
        id=f"{name}-{digest}",
        images=(ImageRef(path=f"{name}-{digest}.png", data=encoded.getvalue()),),
        question=Question(
            problem=f"{IMAGE_MARK}\n{draft.problem}",
            answer=(draft.answer,),
            answer_type=draft.answer_type,
            problem_type=draft.problem_type,
            prompt_type=prompt_type,
            source=f"synthetic/{name}",
            meta=meta,
        ),
    )
