"""Start SGLang servers on this machine, in an environment of their own, and start those again that die.

    Servers --starts, watches--> serve.py (in the server's environment) --> sglang.launch_server

SGLang pins other versions of torch and transformers than ovrl does, so it is never imported here.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from ovrl.errors import OvrlError, UsageError
from ovrl.settings import Settings

log = logging.getLogger(__name__)

MAKE_ENVIRONMENT = "python3 -m venv sglang && sglang/bin/pip install sglang && export OVRL_SGLANG=$PWD/sglang"
"""What a user types to have servers started."""

_PLUGIN = "ovrl.rollout.models.llava_onevision1_5.sglang"
_PLUGIN_ARCHITECTURE = "LLaVAOneVision1_5_ForConditionalGeneration"

_CPU_MEMORY = 0.05
"""SGLang would take nearly all of the machine's memory; that is everybody's."""

_NO_DUMPS = ("SGLANG_PYSPY_DUMP_BEFORE_CRASH=0", "SGLANG_CUDA_COREDUMP_BEFORE_CRASH=0")
"""Or a server that cannot go on would take a minute to end."""

_LOOK_S = 0.2
_SHOWN = 12
"""Last lines of a log that an error shows."""
_TRIES = 3
"""Starts in a row that fail before a server is given up."""
_GRACE_S = 10.0
"""Seconds that a server has to end by itself."""


class LaunchSettings(Settings):
    """Servers that ovrl starts itself."""

    servers: NonNegativeInt = 0
    gpus: PositiveInt = 1
    """GPUs of each server; the first server takes the first ones."""
    memory: float | None = Field(default=None, gt=0, lt=1)
    """Share of each GPU's memory for weights and cache; None leaves it to SGLang, on a CPU to us."""
    context: PositiveInt | None = None
    """Tokens of a prompt and its reply; None is what the model was built for."""
    start_s: PositiveFloat = 900.0
    """Seconds that a server may take to start."""
    environment: str | None = None
    """That has SGLang: its directory, or its Python. OVRL_SGLANG where it is not given."""
    keep_images: bool = False
    """Let servers keep what the vision tower made of an image. Weight updates do not clear that, so the tower has to be
    frozen."""
    flags: tuple[str, ...] = ()
    """More flags of `sglang.launch_server`, as on its command line."""

    machine_fields: ClassVar[frozenset[str]] = frozenset(
        {"servers", "gpus", "memory", "start_s", "environment", "keep_images"}
    )


def interpreter(place: str | None) -> Path:
    """Return the Python that has SGLang.

    Args:
        place: what `OVRL_SGLANG` says: the directory of an environment, or its Python.

    Raises:
        UsageError: there is none.
    """
    if not place:
        raise UsageError(f"servers are started in an environment of their own; make it: {MAKE_ENVIRONMENT}")
    path = Path(place).expanduser().absolute()
    python = path / "bin" / "python" if path.is_dir() else path
    if not os.access(python, os.X_OK):
        raise UsageError(f"OVRL_SGLANG: no Python at {python}; make the environment: {MAKE_ENVIRONMENT}")
    return python


@dataclass(slots=True)
class _Server:
    """One server, as it is now."""

    command: list[str]
    url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    is_ready: bool = False
    failures: int = 0
    """Starts that failed since it was last ready."""
    ends: list[str] = field(default_factory=list[str])
    """How it ended, each time."""


class Servers:
    """Some servers of one model, each at its own URL, which stays when it is started again.

    A thread starts and watches them. A server that dies before it was ever ready is an error for who waits; one that
    dies later is started again, with the weights of its model directory: who gave it others gives them again.
    """

    def __init__(
        self,
        model: str,
        settings: LaunchSettings,
        *,
        device: Literal["cpu", "cuda"],
        dtype: str,
        logs: Path,
    ) -> None:
        """Begin to start them; `wait` for them before they are used.

        Args:
            model: a directory or hub id.
            settings: how many, how large, and with which SGLang.
            device: to run on.
            dtype: of the weights.
            logs: a directory for what the servers print.

        Raises:
            UsageError: there is no such environment or model.
        """
        python = interpreter(settings.environment)
        logs.mkdir(parents=True, exist_ok=True)
        variables = [f"SGLANG_VLM_CACHE_SIZE_MB={100 if settings.keep_images else 0}", *_NO_DUMPS]
        flags = _flags(model, settings, device, dtype)
        if device == "cpu":
            variables += ["SGLANG_USE_CPU_ENGINE=1", "TORCH_COMPILE_DISABLE=1"]  # compiling costs more than it saves
        script = "serve.py"
        if _PLUGIN_ARCHITECTURE in _architectures(model):
            script = "serve_our_models.py"
            variables += [
                f"SGLANG_EXTERNAL_MODEL_PACKAGE={_PLUGIN}",
                f"SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE={_PLUGIN}",
                f"SGLANG_EXTERNAL_MM_MODEL_ARCH={_PLUGIN_ARCHITECTURE}",
            ]
        begin = ["env", *variables, str(python), str(Path(__file__).with_name(script)), str(os.getpid()), *flags]
        self._servers: list[_Server] = []
        for number, port in enumerate(_free_ports(settings.servers)):
            own = ["--port", str(port), *(["--base-gpu-id", str(number * settings.gpus)] if device == "cuda" else [])]
            url = f"http://127.0.0.1:{port}"
            self._servers.append(_Server([*begin, *own], url, logs / f"server-{number}.log"))
        self._start_s = settings.start_s
        self._failure: str | None = None
        self._closing = threading.Event()
        # It starts the servers itself, since they end with the thread that started them.
        self._watcher = threading.Thread(target=self._watch, name="sglang servers", daemon=True)
        self._watcher.start()

    @property
    def urls(self) -> list[str]:
        """Where they are, ready or not."""
        return [server.url for server in self._servers]

    @property
    def pids(self) -> list[int | None]:
        """Their processes; None for one that is being started again or was given up."""
        return [server.process.pid if server.process else None for server in self._servers]

    def wait(self) -> None:
        """Return when all are ready.

        Raises:
            OvrlError: one died or took too long; its log's last lines are told, and the others are ended.
        """
        while not all(server.is_ready for server in self._servers):
            if self._failure is not None:
                self.close()
                raise OvrlError(self._failure)
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """End them all. Idempotent."""
        self._closing.set()
        self._watcher.join()

    def __enter__(self) -> "Servers":
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End them all."""
        self.close()

    def _watch(self) -> None:
        try:
            while not self._closing.wait(_LOOK_S) and self._failure is None:
                for server in self._servers:
                    self._look_after(server)
        finally:
            _end([server.process for server in self._servers if server.process])

    def _look_after(self, server: _Server) -> None:
        if server.process is None:
            if server.failures < _TRIES:
                _start(server)
            return
        code = server.process.poll()
        waited = time.monotonic() - server.since
        if code is not None:
            self._take_down(server, f"ended with status {code}")
        elif not server.is_ready and _answers(server.url):
            log.info("SGLang server at %s is ready after %.0f s", server.url, waited)
            server.is_ready, server.failures = True, 0
        elif not server.is_ready and waited > self._start_s:
            self._take_down(server, f"was not ready after {self._start_s:g} s")

    def _take_down(self, server: _Server, how: str) -> None:
        """Clear away a server that ended or hangs; it is started again if it ever was ready."""
        assert server.process is not None
        _end([server.process])
        server.process = None
        story = f"the SGLang server at {server.url} {how}; the end of {server.log}:\n{_tail(server.log)}"
        was_ready, server.is_ready = server.is_ready, False
        server.ends.append(how)
        if not was_ready:
            server.failures += 1
        if not was_ready and len(server.ends) == server.failures:  # never was ready
            self._failure = story
        elif server.failures == _TRIES:
            log.error("%s\nit is given up after %d tries", story, _TRIES)
        else:
            log.warning("%s\nit is started again", story)


def _flags(model: str, settings: LaunchSettings, device: str, dtype: str) -> list[str]:
    flags = ["--model-path", model, "--host", "127.0.0.1", "--device", device, "--dtype", dtype]
    flags += ["--skip-server-warmup"]  # the client's probe does as much
    if settings.context is not None:
        flags += ["--context-length", str(settings.context)]
    memory = settings.memory or (_CPU_MEMORY if device == "cpu" else None)
    if memory is not None:
        flags += ["--mem-fraction-static", str(memory)]
    if settings.gpus > 1:
        flags += ["--tp-size", str(settings.gpus)]
    if device == "cpu":
        flags += ["--attention-backend", "torch_native"]
    return [*flags, *settings.flags]


def _architectures(model: str) -> list[str]:
    from transformers import PreTrainedConfig

    try:
        return PreTrainedConfig.get_config_dict(model)[0].get("architectures") or []
    except OSError as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"model {model!r} cannot be served: {reason}") from error


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _start(server: _Server) -> None:
    with server.log.open("ab") as output:
        server.process = subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us, and what the server starts can be ended with it
        )
    server.since = time.monotonic()


def _answers(url: str) -> bool:
    """Tell whether a server takes requests: `/health` would make a token first, and says 503 while paused."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/ready", timeout=2.0) as answer:
            return answer.status == 200
    except OSError:  # nobody listens yet, or 503
        return False


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes with all that they started: asked first, then killed."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.debug("process %d does not end by itself", process.pid)
        if sys.platform != "win32":
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # all have ended
        process.wait()


def _tail(path: Path) -> str:
    lines = path.read_bytes()[-20_000:].decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_SHOWN:])
