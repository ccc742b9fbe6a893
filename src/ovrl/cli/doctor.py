"""`ovrl doctor`: what is installed, what is missing, and the line that installs it."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from ovrl.cli import render
from ovrl.cli.session import Session, command
from ovrl.errors import DependencyError

EXAMPLES = ("ovrl doctor", "ovrl doctor --json")

_PACKAGES: dict[str, tuple[str, ...]] = {
    "base": (
        *("typer", "rich", "pydantic", "pyyaml", "orjson", "pyarrow", "pillow", "numpy"),
        *("math-verify", "sympy", "Levenshtein", "CairoSVG", "jinja2", "matplotlib"),
    ),
    "train": ("torch", "transformers", "accelerate", "peft"),
    "deepspeed": ("deepspeed",),
    "hub": ("datasets",),
    "eval": ("lmms-eval",),
    "sglang": ("sglang",),
}
_APART = {"eval": "OVRL_LMMS_EVAL", "sglang": "OVRL_SGLANG"}
"""Extras that may live in an environment of their own, and the variable that tells ovrl where."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    name: str
    needed_for: str
    found: str | None
    remedy: str


@command
def doctor(
    session: Session,
    *,
    need: Annotated[
        list[str] | None, typer.Option(help="Exit with 5 unless this extra is complete; may be repeated.")
    ] = None,
) -> None:
    """Look at the machine: packages by extra, libraries, devices."""
    findings = [*_packages(), *_libraries(), *_locks(), _device()]
    rows = [(f.name, f.needed_for, f.found or "missing", "" if f.found else f.remedy) for f in findings]
    if session.as_json:
        found = {f.name: {"found": f.found, "for": f.needed_for, "remedy": f.remedy} for f in findings}
        render.summary(session, "doctor", {"python": sys.version.split()[0], "findings": found})
    else:
        render.table(session, f"Python {sys.version.split()[0]}", ("what", "for", "found", "remedy"), rows)
    for finding in findings:
        if finding.found is None and finding.needed_for in (need or ()):
            raise DependencyError(finding.name, finding.needed_for)


def _packages() -> list[Finding]:
    from importlib import metadata

    from ovrl.rollout.sglang.launch import MAKE_ENVIRONMENT

    findings: list[Finding] = []
    for extra, names in _PACKAGES.items():
        for name in names:
            try:
                found: str | None = metadata.version(name)
            except metadata.PackageNotFoundError:
                variable = _APART.get(extra, "")
                found = f"apart: {os.environ[variable]}" if os.environ.get(variable) else None
            target = "ovrl" if extra == "base" else f"ovrl[{extra}]"
            # SGLang's pins are at odds with ours: beside ovrl it would break both.
            remedy = MAKE_ENVIRONMENT if extra == "sglang" else f'pip install "{target}"'
            findings.append(Finding(name, extra, found, remedy))
    return findings


def _libraries() -> list[Finding]:
    import ctypes.util

    cairo = ctypes.util.find_library("cairo")
    return [
        Finding("libcairo", "svg-code rewards", cairo, "apt-get install libcairo2, or brew install cairo"),
        Finding("git", "working on ovrl", shutil.which("git"), "apt-get install git"),
    ]


def _locks() -> list[Finding]:
    """Return what keeps hostile completions in their process."""
    from ovrl.reward.confine import available

    return [Finding(lock.name, "scoring", "yes" if lock.is_in_force else None, lock.remedy) for lock in available()]


def _device() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", "speed", None, 'pip install "ovrl[train]" first')
    driver = shutil.which("nvidia-smi")
    return Finding("GPU", "speed", driver, "no NVIDIA driver; everything runs on the CPU, slowly")
