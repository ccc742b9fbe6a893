"""What the command line is tried on: a tiny random model, a few samples, and once the whole demo."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from cli_fixtures import Cli, Result, Started

from builders import line
from ovrl import codec, parquet, store
from ovrl.cli.main import run
from ovrl.curate.synthetic import generate, texts
from ovrl.rollout.tiny import make_tiny


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OVRL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path)
    yield started
    for process in started.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "tiny"
    make_tiny(path, seed=3, texts=texts(64))
    return path


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "pool.parquet"
    parquet.write_samples(path, generate("pool", 12, 5))
    return path


@pytest.fixture(scope="session")
def jsonl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "pool.jsonl"
    lines = [codec.encode_sample(sample) for sample in generate("pool", 12, 5)]
    path.write_text("".join(store.dumps(record) + "\n" for record in lines))
    return path


@pytest.fixture
def scored(pool: Path, tmp_path: Path) -> Path:
    """Scores of eight completions of each sample, of which some are right."""
    records = []
    from ovrl.rejects import Rejects
    from ovrl.samples import read_samples

    for number, sample in enumerate(read_samples(str(pool), Rejects(None))):
        for k in range(8):
            reward = float(k < number % 8)
            fields = {"reward": reward, "status": "ok", "components": {"accuracy": reward}, "finish_reason": "stop"}
            records.append(line(sample.id, k, **fields, answer_type=sample.question.answer_type, elapsed_ms=float(k)))
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="session")
def demo_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `ovrl demo demo --quick` has run."""
    folder = tmp_path_factory.mktemp("demo")
    cache = os.environ.get("OVRL_CACHE") or str(folder / "cache")
    command = [sys.executable, "-m", "ovrl", "demo", "demo", "--quick", "-q"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "OVRL_CACHE": cache}, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    return folder
