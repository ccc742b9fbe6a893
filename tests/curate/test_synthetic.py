import io
import itertools
import json
from collections import Counter

import pytest
from PIL import Image

from ovrl.curate.synthetic import LEVELS, PHRASES, SPLITS, Split, generate, texts
from ovrl.curate.synthetic.canvas import SIZE
from ovrl.curate.synthetic.html import TAGS
from ovrl.curate.synthetic.samples import CATEGORIES
from ovrl.records import IMAGE_MARK, Sample

COUNT = 480


@pytest.fixture(scope="module")
def drawn() -> dict[Split, list[Sample]]:
    return {split: list(generate(split, COUNT, seed=7)) for split in SPLITS}


def everything(drawn: dict[Split, list[Sample]]) -> list[Sample]:
    return list(itertools.chain.from_iterable(drawn.values()))


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_samples_and_a_longer_run_begins_with_them(split: Split):
    short = list(generate(split, 40, seed=7))
    assert list(generate(split, 80, seed=7))[:40] == short
    assert list(generate(split, 40, seed=8)) != short


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="known: warmup, doubt"):
        next(generate("test", 1, seed=0))  # type: ignore[arg-type]


@pytest.mark.parametrize("split", ["warmup", "doubt", "pool", "heldout"])
def test_categories_take_turns_and_both_modes_are_asked(drawn: dict[Split, list[Sample]], split: Split):
    sources = Counter(sample.question.source for sample in drawn[split])
    assert sources == {f"synthetic/{name}": COUNT // len(CATEGORIES) for name in CATEGORIES}
    modes = Counter(sample.question.prompt_type for sample in drawn[split])
    assert modes["normal"] == modes["thinking"]


@pytest.mark.parametrize("split", ["pool", "heldout"])
def test_every_category_has_every_level(drawn: dict[Split, list[Sample]], split: Split):
    met = {(sample.question.source, sample.question.meta["difficulty"]) for sample in drawn[split]}
    assert met == {(f"synthetic/{name}", level) for name in CATEGORIES for level in LEVELS}


def test_the_warmup_asks_nothing_impossible(drawn: dict[Split, list[Sample]]):
    assert all(sample.question.meta["difficulty"] != "impossible" for sample in drawn["warmup"])


def test_splits_are_disjoint_by_content_even_across_seeds(drawn: dict[Split, list[Sample]]):
    contents = {
        split: {(sample.images[0].data, sample.question.problem) for sample in samples}
        for split, samples in drawn.items()
    }
    contents["pool"] |= {(s.images[0].data, s.question.problem) for s in generate("pool", COUNT, seed=8)}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not contents[one] & contents[other]


def test_ids_are_unique_and_follow_the_content(drawn: dict[Split, list[Sample]]):
    by_id: dict[str, object] = {}
    for sample in everything(drawn):
        content = (sample.images[0].data, sample.question.problem)
        assert by_id.setdefault(sample.id, content) == content
    assert len(by_id) == COUNT * len(SPLITS)


def test_each_sample_has_one_mark_and_one_image_of_the_stated_size(drawn: dict[Split, list[Sample]]):
    for sample in everything(drawn):
        assert sample.question.problem.count(IMAGE_MARK) == len(sample.images) == 1
        data = sample.images[0].data
        assert data is not None
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert (image.format, image.size, image.mode) == ("PNG", (SIZE, SIZE), "RGB")


def test_only_warmup_samples_carry_a_rationale(drawn: dict[Split, list[Sample]]):
    assert all(sample.question.meta["thinking"] for sample in drawn["warmup"])
    for split in ("pool", "heldout"):
        assert all(set(sample.question.meta) == {"difficulty"} for sample in drawn[split])


def well_formed(sample: Sample) -> bool:
    (gold,) = sample.question.answer
    problem = sample.question.problem
    match sample.question.answer_type:
        case "bbox":
            left, top, right, bottom = json.loads(gold)
            return 0 <= left < right <= SIZE and 0 <= top < bottom <= SIZE and "in pixels" in problem
        case "multiple-choice":
            return f"\n{gold}. " in problem
        case "boolean":
            return gold in ("yes", "no")
        case "number" | "math-expressions":
            return gold.isdecimal()
        case "html-code":
            return any(gold.startswith(f"<{tag}>") for tag in TAGS) and gold.count("</") * 2 == gold.count("<")
        case "svg-code":
            return gold.startswith(PHRASES[0]) and gold.endswith(PHRASES[1]) and 'fill="' in gold
        case "ocrtext":
            return gold.isalpha()
        case kind:
            return kind == "any" and gold.count("\n") == 3


def test_golds_are_well_formed(drawn: dict[Split, list[Sample]]):
    bad = [sample.id for sample in everything(drawn) if not well_formed(sample)]
    assert bad == []


def test_a_grounding_box_holds_the_named_color(drawn: dict[Split, list[Sample]]):
    for sample in drawn["pool"]:
        if sample.question.source != "synthetic/grounding" or sample.question.meta["difficulty"] == "impossible":
            continue
        data = sample.images[0].data
        assert data is not None
        with Image.open(io.BytesIO(data)) as image:
            left, top, right, bottom = json.loads(sample.question.answer[0])
            inside, outside = (
                image.getpixel(((left + right) // 2, (top + bottom) // 2)),
                image.getpixel((0, 0)),
            )
        assert inside != outside


def test_a_spatial_rationale_gives_boxes_for_both_objects(drawn: dict[Split, list[Sample]]):
    for sample in drawn["warmup"]:
        if sample.question.problem_type == "spatial-reasoning":
            assert sample.question.meta["thinking"].count("[") == 2


def test_texts_are_the_same_every_time_and_hold_no_random_code():
    first = list(texts(100))
    assert first == list(texts(100))
    assert not any(text.isupper() and text.isalpha() and len(text) > 1 for text in first)
