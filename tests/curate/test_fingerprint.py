"""What is the same, what is nearly the same, and that banding finds all that comparing all pairs would."""

import io
import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from builders import sample
from ovrl.curate.fingerprint import NEAR_BITS, Fingerprint, Index, difference_hash, fingerprint, normalise


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Return a smooth random picture, as photographs are smooth."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def bits(one: Image.Image, other: Image.Image) -> int:
    return (difference_hash(one) ^ difference_hash(other)).bit_count()


def test_saving_again_and_resizing_is_near_and_another_picture_is_far():
    for seed in range(20):
        picture = scene(seed)
        assert bits(picture, jpeg(picture, 60)) <= NEAR_BITS
        assert bits(picture, picture.resize((320, 240))) <= NEAR_BITS
        assert bits(picture, jpeg(picture.resize((80, 60)), 70)) <= NEAR_BITS
        assert bits(picture, scene(seed + 100)) > 3 * NEAR_BITS
        assert bits(picture, picture.transpose(Image.Transpose.ROTATE_180)) > 3 * NEAR_BITS


def test_both_directions_count():
    right = Image.fromarray(np.tile(np.arange(0, 250, 5, dtype=np.uint8), (50, 1)))
    assert difference_hash(right).bit_count() == 64  # brighter to the right everywhere, and nowhere downwards
    down = right.transpose(Image.Transpose.TRANSPOSE)
    assert difference_hash(down) ^ difference_hash(right) == 2**128 - 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("<image>\nHow many?", "how  MANY", True),
        ("“What” is $x$?", '"What" is x', True),
        ("ｗｈａｔ", "what", True),
        ("x = 2.5", "x = 25", False),
        ("x = -3", "x = 3", False),
        ("x + 1", "x - 1", False),
        ("How many dogs?", "How many cats?", False),
    ],
)
def test_form_is_nothing_and_content_is_all(one: str, other: str, same: bool):
    assert (normalise(one) == normalise(other)) is same


def mark(name: str = "s", picture: Image.Image | None = None, **fields: object) -> Fingerprint:
    return fingerprint(sample(name, **fields).question, [] if picture is None else [picture])  # type: ignore[arg-type]


def test_exact_near_and_shared_pictures_are_told_apart():
    index = Index()
    picture = scene(1)
    index.add("a", mark(picture=picture))
    again = jpeg(picture, 80)
    exact, other, near = mark(picture=picture), mark(picture=picture, answer=("4",)), mark(picture=again)
    found = index.find(exact)
    assert found is not None
    assert (found.id, found.kind, found.same_answer) == ("a", "exact", True)
    assert (index.find(other).kind, index.find(other).same_answer) == ("exact", False)  # type: ignore[union-attr]
    assert index.find(near).kind == "near"  # type: ignore[union-attr]
    assert index.find(mark(picture=again, answer=("4",))) is None  # another answer: another scene
    question = mark(picture=picture, problem="<image>What color?")
    assert index.find(question) is None
    assert index.find_picture(question).id == "a"  # type: ignore[union-attr]
    assert index.find_picture(near) is None


def test_samples_without_images_are_compared_by_their_words():
    index = Index()
    index.add("a", mark(problem="What is 2 + 2?"))
    assert index.find(mark(problem="What is 2 + 2")).id == "a"  # type: ignore[union-attr]
    assert index.find(mark(problem="What is 2 + 3?")) is None
    assert index.find_picture(mark()) is None


def test_every_image_must_be_near():
    index = Index()
    pair = [scene(1), scene(2)]
    question = sample().question
    index.add("a", fingerprint(question, pair))
    assert index.find(fingerprint(question, [jpeg(one, 80) for one in pair])).kind == "near"  # type: ignore[union-attr]
    assert index.find(fingerprint(question, [jpeg(pair[0], 80), scene(3)])) is None
    assert index.find(fingerprint(question, [jpeg(pair[0], 80)])) is None


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**128 - 1),
    st.integers(0, NEAR_BITS + 3).flatmap(lambda n: st.sets(st.integers(0, 127), min_size=n, max_size=n)),
    st.integers(0, 2**32),
)
@example(0, set(range(NEAR_BITS)), 1)
@example(0, set(range(NEAR_BITS + 1)), 1)
def test_banding_finds_exactly_what_is_within_the_limit(value: int, flipped: set[int], seed: int):
    def made(hash_: int, pixels: bytes) -> Fingerprint:
        return Fingerprint(problem=b"p", answers=b"a", pixels=(pixels,), hashes=(hash_,))

    index = Index()
    rng = random.Random(seed)
    for number in range(20):
        index.add(f"far{number}", made(rng.getrandbits(128), b"x%d" % number))
    index.add("near", made(value, b"y"))
    found = index.find(made(value ^ sum(1 << bit for bit in flipped), b"z"))
    assert (found is not None and found.id == "near") == (len(flipped) <= NEAR_BITS)
    if found is not None and found.id == "near":
        assert found.bits == len(flipped)
