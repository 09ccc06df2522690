"""What the README shows works as it stands there."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from nas.budget import parse_budget
from nas.cli.app import app
from nas.feasibility import Feasible
from nas.space_file import space_from_dict

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_python_runs(tmp_path: Path) -> None:
    programs = [body for language, body in BLOCKS if language == "python"]
    assert programs
    for program in programs:
        path = tmp_path / "example.py"
        path.write_text(program, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("efficientnet-")
        assert (tmp_path / "found.json").exists()


def test_search_spaces_are_search_spaces() -> None:
    tables = [body for language, body in BLOCKS if language == "toml"]
    assert tables
    for table in tables:
        space = space_from_dict(tomllib.loads(table))
        Feasible(space, parse_budget("100M-flops")).check()


COMMANDS = [
    line.split("#")[0].strip()
    for language, body in BLOCKS
    if language == ""
    for line in body.splitlines()
    if line.startswith("nas-search ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_commands(line: str) -> None:
    """Every word is known to the command line; what the commands do is tested elsewhere."""
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    context = command.make_context("nas-search", list(words), resilient_parsing=False)
    rest = [*context._protected_args, *context.args]
    if rest:
        name, sub, arguments = command.resolve_command(context, rest)  # type: ignore[attr-defined]
        sub.make_context(name, arguments, parent=context)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8
