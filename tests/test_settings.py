from pathlib import Path
from typing import ClassVar, Literal

import pytest

from ovrl.errors import UsageError
from ovrl.settings import Layers, Resolved, Settings, keys, read_preset


class Inner(Settings):
    lr: float = 1.0
    name: str | None = None


class Outer(Settings):
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0
    kind: Literal["x", "y"] = "x"
    pair: tuple[float, float] = (0.0, 1.0)
    inner: Inner = Inner()

    machine_fields: ClassVar[frozenset[str]] = frozenset({"e"})


def gather(tmp_path: Path, text: str = "", *assignments: str, **environment: str) -> Layers:
    path = tmp_path / "ovrl.yaml"
    path.write_text(text)
    return Layers.gather([path], assignments, environment)


def resolve(layers: Layers, **flags: object) -> Resolved[Outer]:
    return layers.resolve("outer", Outer, **flags)


def test_later_layers_win_and_every_value_knows_where_it_came_from(tmp_path: Path):
    (tmp_path / "first.yaml").write_text("outer:\n  b: 1\n  c: 1\n  inner:\n    lr: 1e-6\n")
    (tmp_path / "second.yaml").write_text("outer: {c: 2}\n")
    layers = Layers.gather(
        [tmp_path / "first.yaml", tmp_path / "second.yaml"], ["outer.e=4"], {"OVRL_OUTER__D": "3", "OVRL_OUTER__E": "3"}
    )
    found = layers.resolve("outer", Outer, preset={"": "small", "a": 9, "inner": {"name": "p"}}, kind="y", a=None)
    assert found.value == Outer(a=9, b=1, c=2, d=3, e=4, kind="y", inner=Inner(lr=1e-6, name="p"))
    assert found.origins == {
        "a": "preset small",
        "b": f"{tmp_path}/first.yaml:2",
        "c": f"{tmp_path}/second.yaml:1",
        "d": "OVRL_OUTER__D",
        "e": "-s",
        "kind": "--kind",
        "pair": "default",
        "inner.lr": f"{tmp_path}/first.yaml:5",
        "inner.name": "preset small",
    }


@pytest.mark.parametrize(
    ("text", "assignment", "message"),
    [
        ("outer:\n  a: 1\n  inner:\n    lt: 1\n", None, "ovrl.yaml:4: no such setting 'outer.inner.lt'. Did you mean"),
        ("otter: {a: 1}\n", None, "ovrl.yaml:1: no such setting 'otter.a'. Did you mean 'outer.a'?"),
        ("", "outer.inner.l=1", "-s: no such setting 'outer.inner.l'. Did you mean 'outer.inner.lr'?"),
        ("", "lr=1", "-s: no such setting 'lr'. Did you mean 'outer.inner.lr'?"),
        ("", "qqqq=1", "Known: outer.a, outer.b"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest_known_one(
    tmp_path: Path, text: str, assignment: str | None, message: str
):
    layers = gather(tmp_path, text, *([assignment] if assignment else []))
    with pytest.raises(UsageError) as caught:
        layers.check_sections({"outer": Outer})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "assignment", "message"),
    [
        ("outer:\n  kind: z\n", None, "ovrl.yaml:2: outer.kind: Input should be 'x' or 'y' (got 'z')"),
        ("", "outer.inner.lr=fast", "-s: outer.inner.lr: "),
        ("", "outer.a=1.5", "-s: outer.a: "),
        ("", "outer.pair=[1, x]", "-s: outer.pair.1: "),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, text: str, assignment: str | None, message: str):
    layers = gather(tmp_path, text, *([assignment] if assignment else []))
    with pytest.raises(UsageError) as caught:
        resolve(layers)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["a: [", "- a\n- b\n", "outer: 5\nx", "outer:\n  a: !!python/object:os.system x\n", "\x00"],
)
def test_a_file_that_is_no_mapping_of_plain_values_is_one_line(tmp_path: Path, text: str):
    with pytest.raises(UsageError, match=r"ovrl\.yaml") as caught:
        gather(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_or_no_text_is_named(tmp_path: Path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "no.yaml", tmp_path / "x.yaml", tmp_path):
        with pytest.raises(UsageError, match=str(path)):
            Layers.gather([path], (), {})


@pytest.mark.parametrize("text", ["outer.a", "=1", ""])
def test_an_assignment_without_a_key_or_value_is_refused(text: str):
    with pytest.raises(UsageError, match="give key=value"):
        Layers.gather((), [text], {})


@pytest.mark.parametrize(
    ("raw", "value"),
    [("1e-6", 1e-6), ("3", 3.0), ("2E3", 2000.0), (" 4 ", 4.0)],
)
def test_numbers_are_written_as_people_write_them(raw: str, value: float):
    assert resolve(Layers.gather((), [f"outer.inner.lr={raw}"], {})).value.inner.lr == value


def test_places_and_the_seed_are_variables_and_no_settings():
    environment = {
        "OVRL_CACHE": "/x",
        "OVRL_SEED": "7",
        "OVRL_SGLANG_URL": "u",
        "HOME": "/",
        "OVRL_OUTER__INNER__LR": "2",
    }
    layers = Layers.gather((), (), environment)
    layers.check_sections({"outer": Outer})
    assert list(layers.values) == ["outer.inner.lr"]


def test_what_only_changes_speed_is_kept_apart():
    assert "e" not in Outer(e=5).result_fields()
    assert Outer(e=5).speed_fields() == {"e": 5}


def test_a_preset_lies_over_the_defaults_and_under_the_rest(tmp_path: Path):
    (tmp_path / "small.yaml").write_text("a: 5\ninner:\n  lr: 2.0\n")
    found = gather(tmp_path, "outer: {a: 6}").resolve("outer", Outer, preset=read_preset(tmp_path / "small.yaml"))
    assert (found.value.a, found.value.inner.lr) == (6, 2.0)
    assert found.origins["inner.lr"] == "preset small"


def test_keys_are_dotted():
    assert keys(Outer)[-3:] == ["pair", "inner.lr", "inner.name"]
