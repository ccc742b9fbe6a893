import pytest

from builders import picture, ref, sample
from ovrl.curate.stats import gather
from ovrl.records import ImageRef


def test_everything_is_counted_and_measured():
    found = gather(
        [
            sample("a", problem="12345", answer=("x", "xyz"), images=(ref(size=(10, 20)), ref(size=(30, 5)))),
            sample("b", problem="123", prompt_type="thinking", source=None, images=()),
            sample("c", problem="1", images=(ImageRef(data=picture((7, 7), form="JPEG")), ImageRef(data=b"x"))),
            sample("d", images=(ImageRef(path="/nowhere.png"),)),
        ]
    ).encode()
    assert found["samples"] == 4
    assert found["source"] == {"made": 3, "-": 1}
    assert found["prompt_type"] == {"normal": 3, "thinking": 1}
    assert found["answer_type"] == {"number": 4}
    assert found["image_format"] == {"PNG": 2, "unreadable": 2, "JPEG": 1}
    assert found["answer"] == {"min": 1, "median": 1, "p95": 3, "max": 3}
    assert found["golds"]["max"] == 2
    assert found["images"] == {"min": 0, "median": 1, "p95": 2, "max": 2}
    assert (found["image_width"]["min"], found["image_width"]["max"]) == (7, 30)
    assert found["image_height"]["median"] == 7
    assert found["image_size"]["min"] == min(len(picture((10, 20))), len(picture((30, 5))))


def test_a_large_image_is_measured_without_a_warning(recwarn: pytest.WarningsRecorder):
    large = ImageRef(data=picture((10_000, 9_000), 1, mode="1"))
    assert gather([sample(images=(large,))]).encode()["image_width"]["max"] == 10_000
    assert not recwarn.list


def test_nothing_has_no_quantiles():
    found = gather([]).encode()
    assert (found["samples"], found["problem"], found["source"]) == (0, {}, {})


def test_quantiles_are_values_that_occur():
    found = gather(sample(str(i), problem="x" * i, images=()) for i in range(101)).encode()
    assert found["problem"] == {"min": 0, "median": 50, "p95": 95, "max": 100}
