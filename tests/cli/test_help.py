"""The help pages: every option explained, in a panel, whole at 60 columns."""

import re
from typing import Any

import pytest
import typer

from nas.cli import _run as command
from nas.cli.app import app
from nas.cli.panels import ACCURACY, BUDGET, HELP, MACHINE, OUTPUT, PANELS, SEARCH, TRAINING

MAIN: Any = typer.main.get_command(app)
CONTEXT = MAIN.make_context("nas-search", ["--budget", "1M-flops"])
COMMANDS: dict[str, Any] = {"": MAIN, **MAIN.commands}


def parameters(name: str) -> list[Any]:
    return list(COMMANDS[name].get_params(CONTEXT))


def page(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert command([*([name] if name else []), "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_is_explained_in_a_sentence(name: str) -> None:
    texts = {parameter.name: parameter.help for parameter in parameters(name)}
    for text in [COMMANDS[name].help.split("\n\n")[0], *texts.values()]:
        assert text
        assert re.match(r"[A-Z].{10,}\.$", text, re.DOTALL), text
        assert "[" not in text  # rich would take it for markup


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_in_panels_and_say_what_they_take(name: str) -> None:
    options = [one for one in parameters(name) if one.param_type_name == "option"]
    panels = [option.rich_help_panel for option in options]
    assert panels == sorted(panels, key=PANELS.index)
    assert panels.count(HELP) == (4 if not name else 1)
    for option in options:
        assert bool(option.metavar) != (option.is_flag or option.count), option.name


def test_the_panels_of_the_main_page(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"^╭─ (.+?) ─", page("", capsys), re.MULTILINE)
    assert found[:6] == [BUDGET, SEARCH, TRAINING, ACCURACY, MACHINE, OUTPUT]


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_is_whole_on_a_narrow_terminal(
    name: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = page(name, capsys)
    assert max(map(len, text.splitlines())) <= columns
    assert "\x1b" not in text
    cut = re.findall(r"\S+…", text.replace("postgresql://…,", ""))
    assert cut == []
    for parameter in parameters(name):
        for option in parameter.opts if parameter.param_type_name == "option" else []:
            assert re.search(rf"{option}\s", text), option
