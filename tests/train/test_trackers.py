from pathlib import Path

import pytest

from ovrl.errors import DependencyError, UsageError
from ovrl.train.trackers import check, numbers, open_trackers

FAKE = """
told = []
def init(**values): told.append(values)
def log(figures, step): told.append((step, figures))
"""


def test_a_tracker_is_told_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "trackio.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    tell = open_trackers(["trackio"], tmp_path / "my-run", {"steps": 3})
    tell({"step": 2, "reward_mean": 0.5, "groups_rejected": {"zero_variance": 3}, "reward_std": None, "kind": "x"})
    import trackio  # the one above

    begun, logged = trackio.told
    assert (begun["name"], begun["config"]) == ("my-run", {"steps": 3})
    assert logged == (2, {"step": 2.0, "reward_mean": 0.5, "groups_rejected/zero_variance": 3.0})
    monkeypatch.delitem(__import__("sys").modules, "trackio")


def test_what_is_missing_is_told_before_anything_is_done(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r'wandb is not installed; run: pip install "ovrl\[track\]"') as caught:
        check(["wandb"])
    assert caught.value.exit_code == 5
    with pytest.raises(UsageError, match=r"no such tracker .wandbb.\. Did you mean .wandb."):
        check(["wandbb"])
    check([])


def test_nested_figures_are_flattened():
    assert numbers({"a": {"b": 1}, "c": True, "d": "no"}) == [("a/b", 1.0), ("c", 1.0)]
