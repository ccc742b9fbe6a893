"""Rollouts and scores on a page: images, marked answers, a choice that does not flatter."""

import base64
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from builders import identity, picture
from ovrl import parquet, samples
from ovrl.errors import UsageError
from ovrl.eval.report import build_report, build_view
from ovrl.json_lines import JsonLines
from ovrl.rejects import Rejects
from ovrl.rollout.columns import from_lines
from ovrl.rollout.fake import ScriptedEngine
from ovrl.rollout.run import roll_out
from ovrl.rollout.settings import RolloutSettings


def data(path: Path, count: int = 3) -> Path:
    records = [
        {
            "id": f"s{i}",
            "images": ["data:image/png;base64," + base64.b64encode(picture((40 + i, 30))).decode()],
            "problem": f"<image>How many <b>{i}</b>?",
            "answer": str(i),
            "answer_type": "number",
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def rollout(
    folder: Path, name: str = "c.jsonl", *, count: int = 3, text: str = "I see <answer>1</answer> of them"
) -> Path:
    source = data(folder / "d.jsonl", count)
    made_from = identity(command="rollout", inputs={str(source): {"sha256": "0", "rows": count}})
    engine = ScriptedEngine(lambda request, k, seed: f"{k}: {text}")
    with JsonLines(str(folder / name), "completions.jsonl", made_from, to_parquet=from_lines) as lines:
        found = samples.read_samples(str(source), Rejects(None))
        roll_out(found, engine, lines, Rejects(None), RolloutSettings(n=6), model="m", seed=1)
    return folder / name


def sizes(page: str) -> set[tuple[int, int]]:
    uris = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return {Image.open(io.BytesIO(base64.b64decode(uri))).size for uri in uris}


@pytest.mark.parametrize("name", ["c.jsonl", "c.parquet", "folder"])
def test_a_rollout_is_shown_with_images_and_marked_answers(tmp_path: Path, name: str):
    made = rollout(tmp_path, name)
    build_report(made, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert page.count("<article>") == 3
    assert sizes(page) == {(40, 30), (41, 30), (42, 30)}
    assert page.count("&lt;answer&gt;<mark>1</mark>&lt;/answer&gt; of them") == 3 * 4  # the first four of six
    assert "0: I see" in page
    assert "4: I see" not in page
    assert "How many &lt;b&gt;2&lt;/b&gt;?" in page


def scored(made: Path, **fields: Any) -> Path:
    target = made.with_name("scores.jsonl")
    lines = [json.loads(line) | fields for line in made.read_text().splitlines()]
    target.write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = {"command": "score", "inputs": {str(made): {}}, "started": "2999", "argv": []}
    target.with_name("scores.jsonl.manifest.json").write_text(json.dumps(manifest))
    return target


def test_scores_tell_more_than_the_completions_they_are_made_of(tmp_path: Path):
    target = scored(rollout(tmp_path), reward=1.0, status="ok", extracted="of them")
    for source in (tmp_path, target):  # images are found by way of the rollout, alone or not
        build_report(source, tmp_path / "r.html")
        page = (tmp_path / "r.html").read_text()
        assert page.count("<article>") == 3
        assert page.count("<mark>of them</mark>") == 12
        assert page.count('class="reply right"') == 12
        assert len(sizes(page)) == 3


def test_the_choice_looks_at_ids_alone(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shown: list[list[str]] = []
    for folder, text in ((tmp_path / "a", "good"), (tmp_path / "b", "bad")):
        build_report(rollout(folder, count=30, text=text), folder / "r.html")
        shown.append(re.findall(r"<br>(s\d+)</p>", (folder / "r.html").read_text()))
    assert shown[0] == shown[1]
    assert len(shown[0]) == 16
    assert shown[0] != sorted(shown[0])


def test_hostile_completions_stay_text(tmp_path: Path):
    build_report(rollout(tmp_path, text="<answer><script>alert(1)</script></answer>"), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<script>" not in page
    assert "<mark>&lt;script&gt;" in page


def test_a_file_of_samples_is_shown(tmp_path: Path):
    source = data(tmp_path / "d.jsonl")
    parquet.write_samples(tmp_path / "d.parquet", samples.read_samples(str(source), Rejects(None)))
    for file in (source, tmp_path / "d.parquet"):
        build_view(file, None, tmp_path / "v.html")
        page = (tmp_path / "v.html").read_text()
        assert (page.count("<article>"), len(sizes(page)), "<pre>" in page) == (3, 3, False)


def test_a_file_of_completions_is_shown_with_the_samples_that_are_given(tmp_path: Path):
    made = rollout(tmp_path)
    folder = rollout(tmp_path, "folder") / "completions.jsonl"
    for file, samples_file in ((made, None), (folder, None), (made, tmp_path / "d.jsonl")):
        build_view(file, samples_file, tmp_path / "v.html")
        page = (tmp_path / "v.html").read_text()
        assert (page.count("<mark>1</mark>"), len(sizes(page))) == (12, 3)
    assert "3 samples of c.jsonl, with their completions." in unescape(page)


def test_nothing_to_view_is_said(tmp_path: Path):
    with pytest.raises(UsageError, match="is no file"):
        build_view(tmp_path, None, tmp_path / "v.html")
    (tmp_path / "e.jsonl").touch()
    with pytest.raises(UsageError, match="holds no samples"):
        build_view(tmp_path / "e.jsonl", None, tmp_path / "v.html")
