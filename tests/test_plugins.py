import sys
from pathlib import Path

import pytest

from ovrl.errors import UsageError
from ovrl.plugins import resolve

TABLE = {"sum": "math:fsum", "broken": "no_such_module:x"}


def test_a_name_is_a_built_in_a_module_or_a_file(tmp_path: Path):
    import math

    (tmp_path / "mine.py").write_text("def rule():\n    return 7\n")
    assert resolve("sum", TABLE, "reward") is math.fsum
    assert resolve("math:sqrt", TABLE, "reward") is math.sqrt
    assert resolve(f"{tmp_path}/mine.py:rule", TABLE, "reward")() == 7


def test_an_installed_entry_point_is_found_and_a_built_in_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "plug-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[ovrl.rewards]\nhyp = math:hypot\nsum = math:prod\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import math

    assert resolve("hyp", TABLE, "reward") is math.hypot
    assert resolve("sum", TABLE, "reward") is math.fsum


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sun", "unknown reward 'sun'. Did you mean 'sum'? Known: sum, broken"),
        ("zzz", "unknown reward 'zzz'. Known: sum, broken"),
        ("broken", "cannot import the reward"),
        ("math:nothing", "does not exist"),
        ("no_such_module:x", "No module named 'no_such_module'"),
        ("no_such_file.py:x", "no such file: no_such_file.py"),
        (":x", "cannot import the reward ':x'"),
        ("{here}/torn.py:x", "torn.py"),
    ],
)
def test_a_name_that_stands_for_nothing_is_one_line(tmp_path: Path, name: str, message: str):
    (tmp_path / "torn.py").write_text("def rule(:\n")
    with pytest.raises(UsageError) as caught:
        resolve(name.format(here=tmp_path), TABLE, "reward")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
