"""What the README and docs/ show works as it stands there; the commands: tests/test_commands.py."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from nas.cli.app import app
from nas.runs.settings import RunSettings
from nas.spaces.budget import parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_budget, load_space, shipped
from nas.spaces.toml import space_from_dict
from tests.support.documents import COMMANDS, GENERATED, ROOT, TEXTS, USERS, blocks, commands

README = TEXTS["README.md"]


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 250
    assert README.index("![") < README.index("python3 -m venv") < 4_000


def test_python_runs(tmp_path: Path) -> None:
    programs = [block.body for block in blocks("python")]
    assert len(programs) >= 3
    for program in programs:
        path = tmp_path / "example.py"
        path.write_text(program, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("efficientnet-")
        assert (tmp_path / "found.json").exists() or "found.json" not in program


def test_search_spaces_are_search_spaces() -> None:
    tables = blocks("toml")
    assert tables
    for table in tables:
        space = space_from_dict(tomllib.loads(table.body))
        Feasible(space, parse_budget("100M-flops")).check()


def test_the_shipped_spaces_are_named() -> None:
    for name in shipped("search_spaces"):
        assert f"`{name}`" in TEXTS["docs/spaces.md"]


@pytest.mark.parametrize("line", [*COMMANDS, *commands("CONTRIBUTING.md")])
def test_commands_are_commands(line: str) -> None:
    """Every word is known to the command line."""
    command = typer.main.get_command(app)
    context = command.make_context("nas-search", shlex.split(line)[1:], resilient_parsing=False)
    rest = [*context._protected_args, *context.args]
    if rest:
        name, sub, arguments = command.resolve_command(context, rest)  # type: ignore[attr-defined]
        sub.make_context(name, arguments, parent=context)


def anchors(text: str) -> set[str]:
    """What GitHub makes of headings, for links to them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*TEXTS, "docs/api.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = TEXTS.get(page) or GENERATED.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        path = ROOT / page if not name else (ROOT / page).parent / name
        assert path.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {link}"


def test_every_page_is_reached_from_the_readme() -> None:
    for page in [*USERS[1:], "docs/api.md", "CHANGELOG.md", "CONTRIBUTING.md"]:
        assert f"]({page})" in README


def test_the_first_command_finds_its_folder_free() -> None:
    """A run refuses a folder that holds another: what is committed must lie elsewhere."""
    default = RunSettings(load_space("efficientnet"), load_budget("400M-flops")).folder
    listed = subprocess.run(
        ["git", "ls-files", str(default)], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert listed.stdout == ""


def test_the_main_job_is_shown_as_it_is_committed() -> None:
    folder = ROOT / "results" / "cifar10-400M-flops"
    finals, run = (json.loads((folder / f"{n}.json").read_text()) for n in ("finalists", "run"))
    [block] = [block.body for block in blocks("text") if "Finalists" in block.body]
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
    for page in ("README.md", "docs/searching.md"):
        assert f"{minutes:.1f} minutes" in TEXTS[page]


def test_the_readme_repeats_what_the_guide_says() -> None:
    """Numbers stand in docs/trust.md with their commands; the README's table has the same ones."""
    trust = TEXTS["docs/trust.md"] + TEXTS["docs/searching.md"]
    section = README.partition("## How far each proxy can be trusted")[2].partition("\n## ")[0]
    numbers = re.findall(r"−?0\.\d\d+ \(.*?\)|−?0\.\d\d+", section)
    assert len(numbers) > 10
    for number in numbers:
        assert number in trust, number
