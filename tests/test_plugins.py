"""Names that are built in or brought by entry points of other distributions."""

import sys
from pathlib import Path

import pytest

import nas.plugins
from nas.errors import InputError
from nas.plugins import Registration, Registry
from tests.support.plugins import install

GROUP = "nas_search.toys"
TOYS = Registry(
    "toy",
    GROUP,
    (
        Registration("ball", "math:pi", "round"),
        Registration("book", "math:e", "to read", argument="FILE"),
    ),
)


def test_built_in_names_and_arguments() -> None:
    assert list(TOYS) == ["ball", "book:FILE"]
    assert TOYS.find("ball").argument_in("ball") == ""
    assert TOYS.find("book:a:b.txt").argument_in("book:a:b.txt") == "a:b.txt"
    for unknown in ("bal", "ball:red", "book", "book:", ""):
        with pytest.raises(InputError) as caught:
            TOYS.find(unknown)
        assert str(caught.value) == f"toy {unknown!r} is not accepted: ball, book:FILE"


def test_a_built_in_name_looks_at_no_installed_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def looked(group: str, path: tuple[str, ...]) -> tuple[Registration, ...]:
        raise AssertionError("looked at what is installed")

    monkeypatch.setattr(nas.plugins, "_installed", looked)
    assert TOYS.load(TOYS.find("book:x")) == pytest.approx(2.718, abs=1e-3)


def test_an_installed_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {"kite": "made_up_toys:KITE", "ball": "made_up_toys:KITE"}
    install(monkeypatch, tmp_path, {GROUP: names}, modules={"made_up_toys": "KITE = 'a kite'"})
    found = TOYS.find("kite")
    assert found.origin() == {"name": "kite", "distribution": "made-up", "version": "1.2.3"}
    assert "made_up_toys" not in sys.modules  # not before it is used
    assert TOYS.load(found) == "a kite"
    assert TOYS.find("ball").distribution is None  # a built-in name cannot be replaced
    assert [one.name for one in TOYS.installed()] == ["kite"]
    with pytest.raises(InputError, match="'drum' is not accepted: ball, book:FILE, kite"):
        TOYS.find("drum")


def test_a_name_of_two_distributions_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        install(monkeypatch, tmp_path / name, {GROUP: {"kite": "os:sep"}}, name=name)
    with pytest.raises(InputError, match=r"'kite': several .*: one 1\.2\.3, two 1\.2\.3"):
        TOYS.find("kite")


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("not_there_at_all:KITE", "ModuleNotFoundError"),
        ("made_up_toys:NONE", "AttributeError"),
        ("made_up_broken:KITE", "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded_is_one_line_that_says_whose_it_is(
    target: str, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    modules = {"made_up_toys": "", "made_up_broken": "1 / 0"}
    install(monkeypatch, tmp_path, {GROUP: {"kite": target}}, modules=modules)
    with pytest.raises(InputError) as caught:
        TOYS.load(TOYS.find("kite"))
    message = str(caught.value)
    assert message.startswith(f"toy 'kite' (made-up 1.2.3, {target}): cannot be loaded: {named}: ")
    assert "\n" not in message
