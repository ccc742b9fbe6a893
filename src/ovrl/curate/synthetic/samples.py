"""Turn drafts into samples: which category and level comes next, which split it belongs to, its id."""

import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

from ovrl.curate.synthetic import (
    counting,
    diagram,
    grounding,
    html,
    ocr,
    spatial,
    stem,
    svg,
)
from ovrl.curate.synthetic.canvas import uneven
from ovrl.curate.synthetic.draft import LEVELS, Category, Draft, Level
from ovrl.records import IMAGE_MARK, ImageRef, PromptType, Question, Sample, derive_seed

Split = Literal["warmup", "doubt", "pool", "heldout"]
"""`warmup` teaches to answer and `doubt` to be unsure; training takes the pool, evaluation the held-out part."""
SPLITS: tuple[Split, ...] = get_args(Split)

WRONG_SHARE = 0.5
"""Part of the answers of `doubt` that belong to another picture."""

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

_MIX: dict[Split, tuple[float, ...]] = {
    "warmup": (0.25, 0.35, 0.25, 0.15, 0.0),
    "doubt": (0.25, 0.35, 0.25, 0.15, 0.0),
    "pool": (0.10, 0.30, 0.30, 0.20, 0.10),
    "heldout": (0.10, 0.30, 0.30, 0.20, 0.10),
}
"""Share of each level. A model that has never seen `impossible` guesses there, as it should."""

_SHARES: dict[Split, range] = {
    "warmup": range(5),
    "doubt": range(5),
    "pool": range(5, 8),
    "heldout": range(8, 10),
}
"""Tenths of the space of scenes that belong to each split: nothing held out is drawn for training."""


def generate(split: Split, count: int, seed: int) -> Iterator[Sample]:
    """Yield `count` different samples: the categories in turn, levels at random, half of them `thinking`.

    Deterministic, and a longer run begins with the shorter one. No scene with its problem occurs both in
    training and held out, whatever the seeds. `warmup` and `doubt` samples carry `meta["thinking"]`, a
    rationale. Half of the answers of `doubt` are wrong: a model that learned to be right learns there that
    it may not be, and then knows more than it says, as large models do.
    """
    if split not in _SHARES:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    names = list(CATEGORIES)
    seen: set[str] = set()
    for index in range(count):
        name = names[index % len(names)]
        prompt_type: PromptType = "thinking" if index // len(names) % 2 else "normal"
        rng = random.Random(derive_seed(seed, split, index))
        draft, level, digest = _draw(split, CATEGORIES[name], rng, seen)
        if split == "doubt" and rng.random() < WRONG_SHARE:
            draft = _misanswer(draft, level, CATEGORIES[name], rng)
        seen.add(digest)
        yield _sample(split, name, draft, level, digest, prompt_type)


def texts(count: int = 2000) -> Iterator[str]:
    """Yield problems, answers and rationales, to train a tokenizer on. Random codes are left out."""
    names = list(CATEGORIES)
    for index in range(count):
        name = names[index % len(names)]
        rng = random.Random(derive_seed(0, "texts", index))
        draft = CATEGORIES[name](rng, rng.choice(LEVELS[:2] if name == "ocr" else LEVELS))
        yield from (draft.problem, draft.answer, draft.thinking)


def _draw(split: Split, category: Category, rng: random.Random, seen: set[str]) -> tuple[Draft, Level, str]:
    """Return the first draft whose scene falls to the split and whose picture is new, and its digest."""
    while True:
        level = rng.choices(LEVELS, _MIX[split])[0]
        draft = category(rng, level)
        scene = hashlib.sha256(draft.image.tobytes() + draft.problem.encode()).hexdigest()
        if int(scene, 16) % 10 not in _SHARES[split]:
            continue
        draft = replace(draft, image=uneven(rng, draft.image))
        digest = hashlib.sha256(draft.image.tobytes() + draft.problem.encode()).hexdigest()[:16]
        if digest not in seen:
            return draft, level, digest


def _misanswer(draft: Draft, level: Level, category: Category, rng: random.Random) -> Draft:
    """Return the draft with answer and rationale of another one that is answered in the same form."""
    while True:
        other = category(rng, level)
        if other.answer_type == draft.answer_type and other.problem.count("\n") == draft.problem.count("\n"):
            return replace(draft, answer=other.answer, thinking=other.thinking)


def _sample(split: Split, name: str, draft: Draft, level: Level, digest: str, prompt_type: PromptType) -> Sample:
    encoded = io.BytesIO()
    draft.image.save(encoded, "PNG")
    meta = {"difficulty": level}
    if split in ("warmup", "doubt"):
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
