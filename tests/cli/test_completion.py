"""What shells complete, by the protocol that their scripts speak."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from nas.cli import _run as command
from nas.cli import completion
from nas.cli.app import app
from nas.export.targets import Target
from nas.proxies.registry import PROXIES
from nas.spaces.registry import KNOWN_ARCHITECTURES, shipped
from nas.strategies.samplers import SAMPLERS
from tests.support.plugins import install

NETWORKS = list(KNOWN_ARCHITECTURES)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def completed(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What bash is told of the last word, which may be empty."""
    words = line.split(" ")
    monkeypatch.setenv("_NAS_SEARCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit) as end:
        command(words[1:])
    assert not end.value.code
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nas-search sta", ["status"]),
        ("nas-search --bud", ["--budget"]),
        ("nas-search cost ", [*NETWORKS, "mine.json"]),
        ("nas-search cost efficientnet-b7", ["efficientnet-b7"]),
        ("nas-search cost mi", ["mine.json"]),
        ("nas-search cost results/", []),  # the shell's own file names
        ("nas-search compare mine.json ", [*NETWORKS, "mine.json"]),
        ("nas-search train efficientnet-b0 --teacher eff", NETWORKS),
        ("nas-search --start eff", NETWORKS),
        ("nas-search --reference eff", NETWORKS),
        ("nas-search --space ", [*shipped("search_spaces"), "mine.toml"]),
        ("nas-search fidelity --space joint", ["joint-block"]),
        ("nas-search --budget ", [*shipped("budgets"), "mine.toml"]),
        ("nas-search --budget 4", ["400M-flops"]),
        ("nas-search --proxy ", [name.removesuffix("FILE") for name in PROXIES]),
        ("nas-search evaluate efficientnet-b0 --proxy im", ["imagenet"]),
        ("nas-search --sampler ", list(SAMPLERS)),
        ("nas-search reproduce b0 --samplers guided,t", ["guided,tpe"]),
        ("nas-search --engine ", ["local", "ray"]),
        ("nas-search resume x --engine r", ["ray"]),
        ("nas-search --objective ", ["accuracy", "reward"]),
        ("nas-search --device c", ["cpu", "cuda"]),
        ("nas-search export efficientnet-b0 --to ", list(completion.TARGETS)),
        ("nas-search latency --backend o", ["onnxruntime"]),
        ("nas-search scale efficientnet-b0 --preset ", ["official"]),
        ("nas-search reproduce ", ["b0", "scaling"]),
        ("nas-search --coefficients ", ["prior", "training"]),
        ("nas-search import ", ["accel-nasbench"]),
        ("nas-search verify ", ["results/one"]),
        ("nas-search status results/o", ["results/one"]),
        ("nas-search resume ", ["results/one"]),
        ("nas-search --out ", []),
    ],
)
def test_bash(
    line: str,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name in ("mine.json", "mine.toml", "mine.txt"):
        (tmp_path / name).touch()
    (tmp_path / "results" / "one").mkdir(parents=True)
    assert completed(line, monkeypatch, capsys) == expected


@pytest.mark.parametrize(
    ("shell", "first"),
    [
        ("zsh", """_arguments '*: :(("guided":"a Gaussian process"""),
        ("fish", "guided\ta Gaussian process"),
    ],
)
def test_shells_that_show_what_a_word_means(
    shell: str, first: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_NAS_SEARCH_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "nas-search --sampler ")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    with pytest.raises(SystemExit):
        command([])
    out = capsys.readouterr().out
    assert out.startswith(first)
    assert len(out.splitlines()) == len(SAMPLERS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_NAS_SEARCH_COMPLETE", f"source_{shell}")
    with pytest.raises(SystemExit):
        command([])
    script = capsys.readouterr().out
    assert "nas-search" in script
    assert f"_NAS_SEARCH_COMPLETE=complete_{shell}" in script


def test_installing_it_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--help"]) == 0
    out = capsys.readouterr().out
    assert "--install-completion" in out
    assert "--show-completion" in out


def test_its_lists_are_the_librarys() -> None:
    assert get_args(Target) == completion.TARGETS


def test_every_network_folder_space_and_choice_is_completed() -> None:
    """A parameter of a command whose values are known has something that completes it."""
    import typer

    main = typer.main.get_command(app)
    known = {"ARCH", "DIR", "NAME|FILE", "BUDGET", "FORMAT"}
    missing = []
    commands = [main, *main.commands.values()]  # type: ignore[attr-defined]
    for one in commands:
        for parameter in one.params:
            words = parameter.metavar or ""
            choice = "|" in words and words.islower() and not words[0].isdigit()
            argument = parameter.param_type_name == "argument"
            wanted = words in known - {"DIR"} or choice or (words == "DIR" and argument)
            if wanted and parameter._custom_shell_complete is None:
                missing.append(f"{one.name} {parameter.name}")
    assert missing == []


QUICK = """
import os, sys
os.environ["_NAS_SEARCH_COMPLETE"] = "complete_bash"
os.environ |= {{"COMP_WORDS": {words!r}, "COMP_CWORD": "2"}}
from nas.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
loaded = set(sys.modules) & set({heavy!r})
assert not loaded, f"completion loads {{sorted(loaded)}}"
"""


@pytest.mark.parametrize(
    "words", ["nas-search cost ", "nas-search --proxy ", "nas-search --space "]
)
def test_completion_imports_nothing_heavy(words: str) -> None:
    heavy = ("torch", "optuna", "ray", "datasets", "fvcore", "numpy", "pandas", "matplotlib")
    done = subprocess.run(
        [sys.executable, "-c", QUICK.format(words=words, heavy=heavy)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_an_installed_name_is_completed_where_no_built_in_one_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry_points = {"nas_search.proxies": {"my-proxy": "mine:Mine"}}
    install(monkeypatch, tmp_path, entry_points)
    assert completion.proxies("my") == [("my-proxy", "installed with made-up 1.2.3")]
    assert "my-proxy" not in dict(completion.proxies(""))
