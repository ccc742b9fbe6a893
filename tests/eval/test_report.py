import base64
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from ovrl.errors import UsageError
from ovrl.eval.report import build_report, comparison
from ovrl.eval.report.gather import gather, number
from ovrl.eval.report.plots import moving_mean

HOSTILE = "</pre><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>"
LOADING = {"src", "href", "xlink:href", "action", "poster", "data", "srcset", "background"}


class Reader(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.handlers, self.words = [], [], [], []
        self.ids = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in LOADING:
                self.loads.append(value)
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.words.append(data)


def manifest(directory, command, started, *, done=True, inputs=()):
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "command": command,
        "argv": ["ovrl", command, "--seed", "42"],
        "seed": 42,
        "ovrl_version": "9.9.9",
        "started": f"2026-01-01T00:{started:02d}:00+00:00",
        "inputs": {str(path): {"sha256": "0", "rows": 1} for path in inputs},
        "counts": {"samples": 4},
    }
    (directory / "manifest.json").write_text(json.dumps(content))
    if done:
        (directory / "_SUCCESS").touch()


def lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def train(directory, *, done=True, steps=40, command="train"):
    manifest(directory, command, 3, done=done)
    row = {
        "accuracy_mean": 0.4,
        "reward_mean": 0.5,
        "entropy": 1.0,
        "groups_used": 8,
        "groups_rejected": {"zero_spread": 3},
        "completion_tokens": 30,
        "time_step_s": 2.0,
        "time_generate_s": 1.5,
        "time_train_s": 0.5,
        "lr": 1e-6,
    }
    lines(directory / "metrics.jsonl", [row | {"step": step} for step in range(1, steps + 1)])


def samples_file(path):
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(encoded, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()
    lines(
        path,
        [{"id": f"s{i}", "images": [uri], "problem": "<image>How many?", "answer": ["3"]} for i in range(8)],
    )
    return path


def evaluation(directory, started, accuracy, *, mode="fast", inputs=(), text="<answer>3</answer>", source="a"):
    manifest(directory, "eval", started, inputs=inputs)
    scores = {
        "accuracy": accuracy,
        "low": accuracy - 0.1,
        "high": accuracy + 0.1,
        "pass_at_k": 0.9,
        "items": 8,
        "truncated_rate": 0.0,
        "no_answer_rate": 0.25,
    }
    results = {
        "model": f"/models/{directory.name}/final",
        "mode": mode,
        "n": 1,
        "k": 1,
        "overall": scores,
        "by_source": {source: scores},
        "by_answer_type": {"number": scores},
        "by_difficulty": {"hard": scores, "easy": scores},
    }
    (directory / "results.json").write_text(json.dumps(results))
    lines(
        directory / "items.jsonl",
        [
            {
                "sample_id": f"s{i}",
                "accuracy": float(i < accuracy * 8),
                "problem": "<image>How many?",
                "answer": ["3"],
                "answer_type": "number",
                "source": source,
                "completions": [{"k": 0, "completion": text, "reward": float(i < accuracy * 8), "status": "ok"}],
            }
            for i in range(8)
        ],
    )


def curation(directory):
    manifest(directory, "curate", 2)
    rows = [
        {
            "sample_id": f"c{i}",
            "pass_at_1": i / 8,
            "pass_at_k": min(1.0, i / 4),
            "decision": "keep" if 0 < i < 5 else "drop",
            "reason": "kept" if 0 < i < 5 else "outside_band",
            "stage": 1 + i % 2,
            "source": "synthetic/counting",
            "problem_type": "counting",
        }
        for i in range(9)
    ]
    lines(directory / "curation.jsonl", rows)
    (directory / "summary.json").write_text(
        json.dumps({"settings": {"band": [0.0, 0.6], "pass_threshold": {"bbox": 0.5}}})
    )


def make_demo(folder):
    source = folder / "demo"
    samples = samples_file(folder / "heldout.jsonl")
    train(source / "stage1")
    manifest(source / "warm", "warmup", 1)
    lines(source / "warm" / "metrics.jsonl", [{"step": i, "loss": 3.0 - i / 10} for i in range(9)])
    curation(source / "curate")
    evaluation(source / "before", 1, 0.25, inputs=[samples])
    evaluation(source / "after", 4, 0.75, inputs=[samples])
    evaluation(source / "before-cot", 1, 0.5, mode="thinking", inputs=[samples])
    manifest(source / "rolled", "rollout", 2)
    return source


@pytest.fixture
def demo(tmp_path):
    return make_demo(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page of the unchanged demo, for tests that only look at it."""
    folder = tmp_path_factory.mktemp("whole")
    return build(make_demo(folder), folder)


def build(source, tmp_path):
    build_report(source, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    return text, Reader(text)


def test_the_whole_chain_is_shown(whole):
    text, page = whole
    for words in (
        "1 training run, 1 warm-up, 1 curation, 3 evaluations and 1 file of rollouts",
        "Training: stage1",
        "Warm-up: warm",
        "Curation: curate",
        "4 of 9 samples kept",
        "25.0% [15.0, 35.0]",
        "75.0% [65.0, 85.0]",
        "thinking mode",
        "How many?",
        "pass_threshold.bbox",
        "ovrl train --seed 42",
        "9.9.9",
    ):
        assert words in page.text, words
    assert text.startswith("<!DOCTYPE html>")
    assert page.tags.count("svg") >= 14
    assert "in progress" not in page.text


def test_the_gain_is_paired_and_belongs_to_its_mode(whole):
    _, page = whole
    # 4 of 8 samples changed from 0 to 1
    gain = re.search(r"gain in points \+50\.0 \[\+(\d+)\.\d, \+(\d+)\.\d\] 8 samples in both", page.text)
    assert gain
    assert int(gain[1]) < 50 < int(gain[2])
    assert page.text.count("gain in points") == 1  # thinking was evaluated once


def test_headlines_compare_within_a_mode(demo):
    fast, thinking = comparison.headlines(gather(demo).evals)
    assert (fast.mode, fast.first_name, fast.last_name, fast.samples) == ("fast", "before", "after", 8)
    assert (thinking.first, thinking.last, thinking.gain) == ("50.0% [40.0, 60.0]", "", "")


def test_evaluations_stand_in_order_of_time(demo, whole):
    names = [one.step.name for one in gather(demo).evals if one.mode == "fast"]
    assert names == ["before", "after"]
    _, page = whole
    assert page.text.index("before fast") < page.text.index("after fast")


def test_images_are_inside_the_page(whole):
    _, page = whole
    uris = [uri for uri in page.loads if uri.startswith("data:image/")]
    assert len(uris) == 8
    with Image.open(io.BytesIO(base64.b64decode(uris[0].partition(",")[2]))) as image:
        assert image.size == (8, 8)
        assert image.convert("RGB").getpixel((4, 4)) == (255, 0, 0)


def test_nothing_is_loaded_from_outside(whole):
    text, page = whole
    assert all(value.startswith(("data:image/", "#")) for value in page.loads)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_plots_do_not_share_ids(whole):
    text, page = whole
    assert len(page.ids) == len(set(page.ids))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)
    assert {value[1:] for value in page.loads if value.startswith("#")} <= set(page.ids)


def test_hostile_text_stays_text(demo, tmp_path):
    evaluation(demo / "before", 1, 0.25, text=HOSTILE, source=f"{HOSTILE}$\\frac{{$\x00")
    items = demo / "before" / "items.jsonl"
    items.write_text(items.read_text().replace("How many?", HOSTILE).replace('"3"', json.dumps(HOSTILE)))
    results = demo / "before" / "results.json"
    results.write_text(results.read_text().replace("/models/before/final", HOSTILE))
    row = {"sample_id": "x", "pass_at_1": 0.5, "pass_at_k": 1, "decision": "keep", "reason": HOSTILE}
    lines(demo / "curate" / "curation.jsonl", [row | {"source": HOSTILE}])
    text, page = build(demo, tmp_path)
    assert "script" not in page.tags
    assert page.handlers == []
    assert not any("evil" in value for value in page.loads)
    assert "&lt;script&gt;alert(1)" in text
    assert HOSTILE in " ".join(page.words)


def test_lone_surrogates_do_not_stop_the_page(demo, tmp_path):
    evaluation(demo / "before", 1, 0.25, text="\ud800 broken", source="\udfff")
    text, _ = build(demo, tmp_path)
    assert "broken" in text


def test_long_completions_are_cut(demo, tmp_path):
    evaluation(demo / "before", 1, 0.25, text="x" * 50_000)
    text, page = build(demo, tmp_path)
    assert "48000 more characters" in page.text
    assert "x" * 2001 not in text


def test_a_run_in_progress_is_shown_as_such(tmp_path):
    train(tmp_path / "run", done=False, steps=2)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "reward_me')
    manifest(tmp_path / "run" / "eval", "eval", 5, done=False)
    manifest(tmp_path / "run" / "curate", "curate", 5, done=False)
    manifest(tmp_path / "run" / "next", "train", 6, done=False)
    manifest(tmp_path / "run" / "rolled", "rollout", 6, done=False)
    _, page = build(tmp_path / "run", tmp_path)
    assert "2 optimizer steps, the last is step 2." in page.text
    assert "No step is finished yet." in page.text
    assert "Without results yet: eval." in page.text
    assert page.text.count("in progress") >= 5


@pytest.mark.parametrize(
    "junk",
    ["", "[]", "{", "null", '{"overall": 3, "by_source": [1], "mode": 7}', '{"overall": {"accuracy": "x"}}'],
)
def test_broken_files_do_not_break_the_page(demo, tmp_path, junk):
    for name in ("before/results.json", "curate/summary.json"):
        (demo / name).write_text(junk)
    for name in ("before/items.jsonl", "curate/curation.jsonl", "stage1/metrics.jsonl", "warm/metrics.jsonl"):
        (demo / name).write_text(junk + "\n" + '{"step": "one", "sample_id": 3, "completions": 3}\n{"step": NaN}\n')
    (demo / "broken").mkdir()
    (demo / "broken" / "manifest.json").write_text(junk)
    _, page = build(demo, tmp_path)
    assert "Curation: curate" in page.text


def test_a_resumed_run_shows_each_step_once(tmp_path):
    train(tmp_path / "run", steps=3)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "accuracy_mean": 0.9}\n')
    metrics = gather(tmp_path / "run").train[0].metrics
    assert [row["step"] for row in metrics] == [1, 2, 3]
    assert metrics[1]["accuracy_mean"] == 0.9


def test_missing_images_leave_the_sample(demo, tmp_path):
    (tmp_path / "heldout.jsonl").unlink()
    _, page = build(demo, tmp_path)
    assert "img" not in page.tags
    assert "How many?" in page.text


def test_the_same_inputs_give_the_same_page(whole, demo, tmp_path):
    assert build(demo, tmp_path)[0] == whole[0]


def test_the_parts_of_an_evaluation_are_not_evaluations(demo, tmp_path):
    beside = demo / "after" / "completions.jsonl.manifest.json"
    beside.write_text((demo / "after" / "manifest.json").read_text())
    assert len(gather(demo).evals) == 3


def test_samples_may_lie_in_a_directory(tmp_path):
    (tmp_path / "data").mkdir()
    samples_file(tmp_path / "data" / "part.jsonl")
    evaluation(tmp_path / "demo", 1, 0.5, inputs=[tmp_path / "data", tmp_path / "models"])
    assert "data:image/png" in build(tmp_path / "demo", tmp_path)[0]


def test_a_file_with_its_manifest_beside_it_is_found(tmp_path):
    (tmp_path / "s.jsonl").write_text("{}\n")
    (tmp_path / "s.jsonl.manifest.json").write_text('{"command": "score", "counts": {"timeout": 7}}')
    for source in (tmp_path, tmp_path / "s.jsonl"):
        _, page = build(source, tmp_path)
        assert "timeout 7" in page.text


@pytest.mark.parametrize("given", ["absent", "empty"])
def test_nothing_to_show_is_a_usage_error_with_a_remedy(tmp_path, given):
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    (tmp_path / "empty" / "sub" / "manifest.json").write_text('{"command": "else"}')
    with pytest.raises(UsageError, match="give a"):
        build_report(tmp_path / given, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("value", [None, "1", True, [1], float("nan"), float("inf"), 10**400])
def test_what_is_no_finite_number_is_not_drawn(value):
    assert number(value) is None
    assert number(3) == 3.0


def test_moving_mean_by_hand():
    assert moving_mean([1, 2, 3, 4], 1) == [1, 2, 3, 4]
    assert moving_mean([0, 3, 6, 9], 3) == [1.5, 3, 6, 7.5]
