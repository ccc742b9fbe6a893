import math

import pytest

from ovrl.errors import UsageError
from ovrl.settings import Layers
from ovrl.train.schedule import Curve, Schedule
from ovrl.train.settings import TrainSettings


def schedule(**curves: object) -> Schedule:
    return Schedule(TrainSettings(schedules={name.replace("__", "."): curve for name, curve in curves.items()}))


@pytest.mark.parametrize(
    ("shape", "points", "wanted"),
    [
        ("constant", [[0, 3.0]], {0: 3.0, 99: 3.0}),
        ("linear", [[10, 1.0], [20, 2.0]], {0: 1.0, 10: 1.0, 15: 1.5, 20: 2.0, 500: 2.0}),
        ("cosine", [[0, 1.0], [100, 0.0]], {0: 1.0, 25: (1 + math.sqrt(0.5)) / 2, 50: 0.5, 100: 0.0, 101: 0.0}),
        ("steps", [[0, 1.0], [10, 2.0], [30, 4.0]], {0: 1.0, 9: 1.0, 10: 2.0, 29: 2.0, 30: 4.0, 99: 4.0}),
        ("linear", [[0, 0.05], [30, 0.0], [100, 0.1]], {15: 0.025, 30: 0.0, 65: 0.05}),  # GRPO-D: down, then up
    ],
)
def test_a_curve_passes_through_its_points(shape, points, wanted):
    curve = Curve(shape=shape, points=points)
    assert {step: curve.value(step) for step in wanted} == pytest.approx(wanted)


def test_the_settings_of_a_step_are_those_of_the_run_with_the_bound_ones_changed():
    settings = TrainSettings(
        recipe="papo",
        schedules={
            "optimizer.lr": {"shape": "linear", "points": [[0, 4e-6], [100, 0]]},
            "sampling.max_new_tokens": {"shape": "linear", "points": [[0, 100], [10, 201]]},
            "objective.kl.coefficient": {"shape": "steps", "points": [[0, 0], [5, 0.04]]},
            "objective.options.gamma": {"shape": "cosine", "points": [[0, 0.02], [10, 0.0]]},
        },
    )
    got = Schedule(settings).at(5)
    assert got.optimizer.lr == pytest.approx(3.8e-6)
    assert got.sampling.max_new_tokens == 150  # rounded: there is no half token
    assert got.objective.kl.coefficient == 0.04
    assert got.objective.options == {"gamma": pytest.approx(0.01)}
    changed = {"optimizer": settings.optimizer, "sampling": settings.sampling, "objective": settings.objective}
    assert got.model_copy(update=changed) == settings


def test_without_curves_nothing_changes():
    settings = TrainSettings()
    assert Schedule(settings).at(7) is settings


def test_curves_may_come_from_files_flags_and_variables(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "train:\n  schedules:\n    optimizer.lr: {shape: cosine, points: [[0, 2.0e-6], [10, 0]]}\n"
        "    objective:\n      clip_high: {shape: constant, points: [[0, 0.4]]}\n"
    )
    flags = ["train.schedules.optimizer.beta1={shape: steps, points: [[0, 0.8]]}"]
    settings = Layers.gather([path], flags, {}).resolve("train", TrainSettings).value
    got = Schedule(settings).at(5)
    assert got.optimizer.lr == pytest.approx(1e-6)
    assert (got.objective.clip_high, got.optimizer.beta1) == (0.4, 0.8)


@pytest.mark.parametrize(
    ("curves", "complaint"),
    [
        ({"optimizer__rl": {"points": [[0, 1]]}}, "no such setting. Did you mean 'optimizer.lr'?"),
        ({"recipe": {"points": [[0, 1]]}}, "this is 'grpo', and curves are for numbers"),
        ({"objective__advantage__whiten": {"points": [[0, 1]]}}, "curves are for numbers"),
        ({"batch__groups": {"points": [[0, 8]]}}, "a run cannot change this on its way"),
        ({"batch__group_size": {"points": [[0, 8]]}}, "a run cannot change this on its way"),
        ({"eta": {"points": [[0, 8]]}}, "a run cannot change this on its way"),
        (
            {"optimizer__lr": {"points": [[0, 1e-6], [9, -1]]}},
            "at step 9: optimizer.lr: Input should be greater than or equal to 0",
        ),
        ({"optimizer__lr": {"points": [[5, 1], [5, 2]]}}, "the steps of the points must rise"),
        ({"optimizer__lr": {"shape": "wave", "points": [[0, 1]]}}, "train.schedules.optimizer.lr.shape: Input should"),
        ({"optimizer__lr": {"shape": "constant", "points": [[0, 1], [1, 2]]}}, "a constant has one point"),
        ({"optimizer__lr": {"points": []}}, "train.schedules.optimizer.lr.points"),
        ({"optimizer__lr": 3}, "train.schedules.optimizer.lr: "),
        ({"objective__minibatches": {"points": [[0, 2]]}}, "at step 0: objective: with several minibatches"),
    ],
)
def test_a_curve_that_cannot_be_is_refused_at_start(curves, complaint):
    with pytest.raises(UsageError, match=r"train\.schedules") as error:
        schedule(**curves)
    assert complaint in str(error.value)
