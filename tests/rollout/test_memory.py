"""However many samples, images are in memory only while an engine has room for them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from engines import make_model

_RUN = """
import resource, sys
from pathlib import Path
from ovrl.json_lines import JsonLines
from ovrl.manifest import Identity
from ovrl.rejects import Rejects
from ovrl.rollout.run import roll_out
from ovrl.rollout.settings import EngineSettings, RolloutSettings
from ovrl.samples import read_samples

def peak():
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own / 1024, children / 1024

def main():
    data, output, engine, model, processes, new = sys.argv[1:]
    settings = EngineSettings(device="cpu", batch_size=32, threads=1, processes=int(processes))
    if engine == "fake":
        from ovrl.rollout.fake import load_engine
    else:
        from ovrl.rollout.transformers_engine import load_engine
    made = load_engine(model, settings)
    before = peak()[0]
    with JsonLines(output, "", Identity(command="rollout", settings={}, seed=1)) as lines:
        asked = RolloutSettings(n=4, engine=settings, sampling={"max_new_tokens": int(new)})
        counts = roll_out(read_samples(data, Rejects(None)), made, lines, Rejects(None), asked, model="m", seed=1)
    made.close()
    print(counts["samples"], before, *peak())

if __name__ == "__main__":
    main()
"""


def megapixels(folder: Path, count: int) -> Path:
    """Write samples with images of a megapixel: three megabytes each, once decoded."""
    images = [f"{number}.jpg" for number in range(4)]
    for number, name in enumerate(images):
        Image.new("RGB", (1024, 1024), (60 * number, 0, 0)).save(folder / name)
    for stale in folder.glob("c.jsonl*"):
        stale.unlink()
    with (folder / "d.jsonl").open("w") as file:
        for number in range(count):
            record = {"id": f"s{number}", "images": [images[number % 4]], "problem": "<image>What?", "answer": "1"}
            file.write(json.dumps(record) + "\n")
    return folder / "d.jsonl"


def peaks(folder: Path, data: Path, engine: str, model: str, *, processes: int = 0, new: int = 64) -> tuple[float, ...]:
    """Return MiB: before the first request, at most, and at most in a child."""
    script = folder / "run.py"
    script.write_text(_RUN)
    done = subprocess.run(
        [sys.executable, script, data, folder / "c.jsonl", engine, model, str(processes), str(new)],
        capture_output=True,
        text=True,
        timeout=1500,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return tuple(float(word) for word in done.stdout.split()[-3:])


@pytest.mark.slow
def test_what_many_samples_take_does_not_grow_with_their_number(tmp_path: Path):
    """A thousand pictures, shrunk to a quarter of a megapixel, are 750 MB; 10,000 may take no more than a gigabyte."""
    before, most, _ = peaks(tmp_path, megapixels(tmp_path, 1000), "fake", "x")
    assert most - before < 100


@pytest.mark.slow
def test_an_engine_reads_images_when_it_has_room(tmp_path: Path):
    model = make_model(tmp_path / "tiny", "qwen2_5_vl")
    few = peaks(tmp_path, megapixels(tmp_path, 16), "hf", str(model), new=2)
    more = peaks(tmp_path, megapixels(tmp_path, 48), "hf", str(model), new=2)
    assert more[1] - more[0] < 700
    assert more[1] - few[1] < 100
