"""Servers that ovrl starts itself, with an SGLang of thirty lines in the place of the real one."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from ovrl.errors import OvrlError, UsageError
from ovrl.rollout.sglang.launch import LaunchSettings, Servers, interpreter

SGLANG = """
import http.server, json, multiprocessing, os, sys, time

words = [word for word in sys.argv[1:] if word != "--skip-server-warmup"]  # the one flag without a value
flags = dict(zip(words[::2], words[1::2]))
if "--bad" in flags:
    print("what went before\\nValueError: no such attention backend")
    sys.exit(3)
if "--slow" in flags:
    time.sleep(60)
child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
if "--child" in flags:
    child.start()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        seen = {"argv": sys.argv, "environ": dict(os.environ), "path": sys.path, "child": child.pid}
        self.wfile.write(json.dumps(seen).encode())
    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", int(flags["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python beside which SGLang is installed, and ovrl is not."""
    package = tmp_path / "site" / "sglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "launch_server.py").write_text(SGLANG)
    script = tmp_path / "bin" / "python"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nPYTHONPATH={package.parent} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"architectures": ["Qwen2_5_VLForConditionalGeneration"]}')
    return str(tmp_path / "model")


@pytest.fixture
def start(python: Path, model: str, tmp_path: Path) -> Callable[..., Servers]:
    def make(count: int = 1, device: str = "cpu", **settings: object) -> Servers:
        return Servers(
            model,
            LaunchSettings.model_validate({"servers": count, "environment": str(python), "start_s": 60, **settings}),
            device=device,  # type: ignore[arg-type]
            dtype="float32",
            logs=tmp_path / "logs",
        )

    return make


def look(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(holds: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def test_servers_get_flags_and_variables_and_ports_of_their_own(start: Callable[..., Servers], model: str):
    settings = {"gpus": 2, "memory": 0.4, "context": 512, "flags": ("--max-total-tokens", "8192")}
    with start(2, device="cuda", **settings) as servers:
        servers.wait()
        seen = [look(url) for url in servers.urls]
    commands = [" ".join(one["argv"][1:]) for one in seen]
    for number, (url, command) in enumerate(zip(servers.urls, commands, strict=True)):
        assert f"--model-path {model} --host 127.0.0.1 --device cuda --dtype float32" in command
        assert "--context-length 512 --mem-fraction-static 0.4 --tp-size 2 --max-total-tokens 8192" in command
        assert command.endswith(f"--port {url.rpartition(':')[2]} --base-gpu-id {2 * number}")
    assert len(set(servers.urls)) == 2
    assert seen[0]["environ"]["SGLANG_VLM_CACHE_SIZE_MB"] == "0"
    assert "SGLANG_USE_CPU_ENGINE" not in seen[0]["environ"]
    assert not any("ovrl" in place for place in seen[0]["path"])


def test_a_server_on_a_cpu_is_told_so_and_may_keep_what_it_saw_where_weights_stay(start: Callable[..., Servers]):
    with start(keep_images=True) as servers:
        servers.wait()
        seen = look(servers.urls[0])
    assert seen["environ"]["SGLANG_USE_CPU_ENGINE"] == "1"
    assert int(seen["environ"]["SGLANG_VLM_CACHE_SIZE_MB"]) > 0
    assert "--attention-backend torch_native" in " ".join(seen["argv"])


def test_a_server_that_dies_at_the_start_is_an_error_with_the_last_lines_of_its_log(start: Callable[..., Servers]):
    servers = start(2, flags=("--bad", "1"))
    with pytest.raises(OvrlError, match=r"ended with status 3(.|\n)*ValueError: no such attention backend"):
        servers.wait()
    assert servers.pids == [None, None] or not any(is_alive(pid) for pid in servers.pids if pid)


def test_a_server_that_takes_too_long_is_an_error(start: Callable[..., Servers]):
    servers = start(flags=("--slow", "1"), start_s=0.5)
    with pytest.raises(OvrlError, match=r"was not ready after 0\.5 s"):
        servers.wait()


def test_a_server_that_dies_later_is_started_again_at_the_same_place(start: Callable[..., Servers]):
    with start() as servers:
        servers.wait()
        (first,) = servers.pids
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: servers.pids[0] not in (None, first))
        servers.wait()
        assert look(servers.urls[0])["argv"]
        (second,) = servers.pids
    assert second is not None
    assert not is_alive(second)


def test_servers_end_with_a_process_that_is_killed(python: Path, model: str, tmp_path: Path):
    code = f"""
import time
from pathlib import Path
from ovrl.rollout.sglang.launch import LaunchSettings, Servers
settings = LaunchSettings(servers=1, environment={str(python)!r}, flags=("--child", "1"))
servers = Servers({model!r}, settings, device="cpu", dtype="float32", logs=Path({str(tmp_path / "logs")!r}))
servers.wait()
print(servers.pids[0], servers.urls[0], flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server, url = parent.stdout.readline().split()
        child = look(url)["child"]
        assert isinstance(child, int)
        assert is_alive(int(server))
        assert is_alive(child)
        parent.kill()
    until(lambda: not is_alive(int(server)) and not is_alive(child))


def test_the_environment_is_a_directory_or_its_python(python: Path):
    assert interpreter(str(python)) == interpreter(str(python.parents[1])) == python
    with pytest.raises(UsageError, match="OVRL_SGLANG"):
        interpreter(None)
    with pytest.raises(UsageError, match="no Python at"):
        interpreter(str(python.parent / "nothing"))
