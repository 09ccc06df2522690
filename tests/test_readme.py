"""What the README shows works as it stands there."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from nas.budget import parse_budget
from nas.catalogue import load_budget, load_space
from nas.cli.app import app
from nas.feasibility import Feasible
from nas.settings import Settings
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
        assert (tmp_path / "found.json").exists() or "found.json" not in program


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


def test_the_first_command_finds_its_folder_free() -> None:
    """A run refuses a folder that holds another: what is committed must lie elsewhere."""
    default = Settings(load_space("efficientnet"), load_budget("400M-flops")).folder
    listed = subprocess.run(
        ["git", "ls-files", str(default)], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert listed.stdout == ""


def test_the_main_job_is_shown_as_it_is_committed() -> None:
    folder = ROOT / "results" / "cifar10-400M-flops"
    finals, run = (json.loads((folder / f"{n}.json").read_text()) for n in ("finalists", "run"))
    [block] = [body for language, body in BLOCKS if language == "text" and "Finalists" in body]
    rows = {line.split()[1]: line for line in block.splitlines() if " efficientnet-" in line[:20]}
    assert list(rows) == [entry["name"] for entry in finals["entries"]]
    for entry in finals["entries"]:
        accuracy, difference = entry["accuracy"], entry["difference"]
        row = rows[entry["name"]]
        assert f"{accuracy['mean']:.4f} ± {accuracy['standard_error']:.4f}" in row
        if difference is not None:
            low, high = difference["ci95"]
            assert f"({difference['mean']:+.4f} ± {(high - low) / 2:.4f})" in row
            assert not difference["real"]
        assert ("*" in row) == (entry["name"] == finals["chosen"])
    tested, reference = finals["test"]["entries"]
    for entry in (tested, reference):
        assert (
            f"{entry['accuracy']['mean']:.4f} ± {entry['accuracy']['standard_error']:.4f}" in block
        )
    assert f"τ {run['check']['kendall_tau']:.2f}" in block
    minutes = sum(run["seconds"].values()) / 60
    assert f"{minutes:.1f} minutes" in TEXT
