"""Every limit that we claim: layers, sizes, names, what `--help` imports, how many settings there are."""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovrl.cli.sections import load_sections
from ovrl.settings import Settings, keys
from ovrl.train.settings import TrainSettings, load_preset, preset_names

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ovrl"
MODULES = sorted(SOURCE.rglob("*.py"))

MODULE_LINES, FUNCTION_LINES, CLASS_SETTINGS = 400, 60, 12
ALL_SETTINGS = 122
"""A ratchet: lower it when settings go; raising it is a design review."""

BANNED = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}

BROAD = {
    "reward/algebra.py",  # the LaTeX parser raises a plain Exception on what is no LaTeX
    "samples.py",  # --from runs code of the user's on each row
    "plugins.py",  # importing a plug-in runs its author's code
    "reward/pool.py",  # who waits for a verdict must be told that none comes
    "reward/judge.py",  # the one boundary: whatever a rule does, the batch goes on
}
"""Files that may catch `Exception`. `BaseException` is caught only to be raised again."""


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def test_imports_keep_to_the_layers():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_module_is_longer_than_its_limit():
    assert {name(p): n for p in MODULES if (n := len(p.read_text().splitlines())) > MODULE_LINES} == {}


def test_no_function_is_longer_than_its_limit():
    long: dict[str, int] = {}
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                assert node.end_lineno is not None
                if (lines := node.end_lineno - start + 1) > FUNCTION_LINES:
                    long[f"{name(path)}:{node.name}"] = lines
    assert long == {}


def test_no_name_is_a_dumping_ground():
    assert [name(p) for p in SOURCE.rglob("*") if p.stem in BANNED] == []
    defined = {
        f"{name(path)}:{node.name}"
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, ast.ClassDef) and node.name.lower().endswith(("manager", "helper", "utils"))
    }
    assert defined == set()


def test_every_broad_except_is_on_the_list():
    broad = set[str]()
    for path in MODULES:
        for node in nodes(path):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "everything" if node.type is None else ast.unparse(node.type)
            if caught == "BaseException":
                assert isinstance(node.body[-1], ast.Raise), f"{name(path)}:{node.lineno} swallows Ctrl-C"
            elif caught in ("everything", "Exception"):
                broad.add(name(path))
    assert broad == BROAD


def run_python(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.split("\n")[-2].split()


HELP = """
import sys
from ovrl.cli.main import run
assert run({arguments!r}) == 0
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def loaded_by_help() -> set[str]:
    return set(run_python(HELP.format(arguments=["--help"])))


HEAVY = {
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "pydantic",
    "pyarrow",
    "PIL",
    "numpy",
    "sympy",
    "matplotlib",
}


def test_help_imports_nothing_heavy(loaded_by_help: set[str]):
    assert loaded_by_help & (HEAVY | {"yaml", "rich.table", "rich.progress"}) == set()


def test_help_imports_hardly_more_than_typer_and_rich(loaded_by_help: set[str]):
    """The promise is a ratio of seconds (2.5). Modules are counted, since seconds on a busy machine are noise.

    Starting is importing: with no heavy module among them, time goes with their number.
    """
    baseline = run_python("import sys, typer, rich; print(*sys.modules)")
    assert len(loaded_by_help) < 1.5 * len(baseline)


def test_the_help_of_a_command_and_its_settings_need_no_torch():
    loaded = set(run_python(HELP.format(arguments=["train", "--help"])))
    assert loaded & (HEAVY - {"pydantic"}) == set()  # typer loads pydantic where a command has parameters
    loaded = set(run_python(HELP.format(arguments=["config", "show", "--json"])))
    assert loaded & {"torch", "transformers"} == set()


def sections() -> Iterator[type[Settings]]:
    """Yield every settings class that a section reaches."""
    waiting = list(load_sections().values())
    seen = set[type[Settings]]()
    while waiting:
        model = waiting.pop()
        if model not in seen:
            seen.add(model)
            yield model
        inner = (info.annotation for info in model.model_fields.values())
        waiting += [kind for kind in inner if isinstance(kind, type) and issubclass(kind, Settings)]


def test_settings_are_few():
    counts = {model.__name__: len(model.model_fields) for model in sections()}
    assert {model: count for model, count in counts.items() if count > CLASS_SETTINGS} == {}
    own = sum(
        not (isinstance(info.annotation, type) and issubclass(info.annotation, Settings))
        for model in sections()
        for info in model.model_fields.values()
    )
    assert own <= ALL_SETTINGS


def test_every_setting_is_read_somewhere():
    text = "\n".join(path.read_text() for path in MODULES)
    unread = {
        f"{model.__name__}.{field}"
        for model in sections()
        for field in model.model_fields
        if f".{field}" not in text and model.__name__ not in ("SamplingSettings",)  # passed on as a whole
    }
    assert unread == set()


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid_and_repeats_no_default(preset: str):
    from ovrl.settings import Layers, leaf

    values = load_preset(preset)
    resolved = Layers({}).resolve("train", TrainSettings, preset=values)
    given = [key for key, origin in resolved.origins.items() if origin == f"preset {preset}"]
    default = TrainSettings()
    same = [key for key in given if leaf(resolved.value, key) == leaf(default, key)]
    assert same == [] or preset == "default"
    assert set(given) <= set(keys(TrainSettings))


def test_every_machine_field_exists():
    for model in sections():
        assert model.machine_fields <= set(model.model_fields), model.__name__


def test_every_built_in_name_leads_somewhere():
    """Tables of strings are checked here, since nothing imports them before they are used."""
    tables = {
        name(path): value
        for path in MODULES
        if path.name in ("table.py", "sections.py")
        for value in vars(importlib.import_module("ovrl." + name(path)[:-3].replace("/", "."))).values()
        if isinstance(value, dict) and value and all(":" in str(target) for target in value.values())
    }
    assert len(tables) >= 4
    for table, targets in tables.items():
        for target in targets.values():
            module, _, attribute = target.partition(":")
            path = SOURCE.parent / Path(*module.split("."))
            text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
            found = {getattr(n, "name", "") for n in ast.walk(ast.parse(text))}
            found |= {ast.unparse(t) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Assign) for t in n.targets}
            assert attribute in found, f"{table}: {target}"


def test_the_environment_is_not_read_below_the_command_line():
    allowed = {"settings.py", "log.py", "manifest.py", "eval/lmms/runner.py"}  # the last hands its own on, with more
    readers = {
        name(path)
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    # The latter two run in lmms-eval's process, by its variables.
    apart = ("cli/", "eval/lmms/harness/", "eval/lmms/tasks/")
    assert {reader for reader in readers if not reader.startswith(apart)} <= allowed
    assert "OMP_WAIT_POLICY" in os.environ  # set by conftest, as main sets it
