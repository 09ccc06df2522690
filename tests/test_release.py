"""What is released: one version, its changes, a wheel and an sdist that install and work."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import nas
from tests.support.documents import blocks
from tests.support.paths import ROOT


def run(*words: str | Path, cwd: Path | None = None, **more: str) -> str:
    """Run a program that must succeed; return what it printed."""
    environment = {**os.environ, **more}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An sdist of the checkout, and a wheel made from the sdist."""
    if not (ROOT / "README.md").exists():
        pytest.skip("there is no README yet, and the metadata holds it")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def test_the_version_stands_in_one_place(built: dict[str, Path]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "nas/_version.py"
    assert built["sdist"].name == f"nas_search-{nas.__version__}.tar.gz"
    assert built["wheel"].name == f"nas_search-{nas.__version__}-py3-none-any.whl"


def test_the_changes_are_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[:2] == ["Unreleased", nas.__version__]
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_a_wheel_made_from_the_sdist_is_whole(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.*")}
    assert {"pyproject.toml", "constraints.txt", "LICENSE", "tests/test_house.py"} <= inside
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"} | documents <= inside
    with zipfile.ZipFile(built["wheel"]) as archive:
        packed = set(archive.namelist())
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nas").rglob("*.py")}
    wanted |= {"nas/architecture.schema.json", "nas/report/published.json"}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "nas/report/assets").iterdir()}
    wanted |= {
        f"nas/_models/{name}.{suffix}"
        for name in ("imagenet", "scaling")
        for suffix in ("json", "safetensors")
    }
    wanted |= {
        f"nas/_data/{folder}/{path.name}"
        for folder in ("search_spaces", "budgets")
        for path in (ROOT / folder).glob("*.toml")
    }
    assert wanted | {"nas/py.typed"} <= packed
    assert not {name for name in packed if name.startswith(("tests/", "docs/", "search_spaces/"))}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_and_answers(kind: str, built: dict[str, Path], tmp_path: Path) -> None:
    """Beside the packages that are here already, and away from the checkout."""
    there = tmp_path / "there"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*install, "--no-deps", "--no-index", "--no-build-isolation", "--target", there, built[kind])

    def said(*words: str) -> str:
        return run(there / "bin" / "nas-search", *words, cwd=tmp_path, PYTHONPATH=str(there))

    where = "import nas; print(nas.__file__)"
    found = run(sys.executable, "-c", where, cwd=tmp_path, PYTHONPATH=str(there))
    assert Path(found.strip()).is_relative_to(there)
    assert said("--version").startswith(f"nas-search {nas.__version__}\npython ")
    assert {row["name"] for row in json.loads(said("spaces", "--json"))} == {
        path.stem for path in (ROOT / "search_spaces").glob("*.toml")
    }
    assert json.loads(said("cost", "efficientnet-b0", "--json"))["flops"] == 385_814_752


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_works_in_an_empty_environment(
    kind: str, built: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing but what it asks for, from the index."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("NAS_SEARCH_CACHE", str(tmp_path / "cache"))
    programs = tmp_path / "empty" / "bin"
    venv.create(programs.parent, with_pip=True)
    run(programs / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt",
        built[kind], cwd=tmp_path)  # fmt: skip

    def said(*words: str) -> str:
        return run(programs / "nas-search", *words, cwd=tmp_path)

    assert said("--version").startswith(f"nas-search {nas.__version__}\n")
    assert "efficientnet" in said("spaces")
    assert "400M-flops" in said("budgets")
    assert "385,814,752" in said("cost", "efficientnet-b0")
    accuracy = json.loads(said("evaluate", "efficientnet-b0", "--proxy", "imagenet", "--json"))
    assert accuracy["predicted"]
    said("export", "efficientnet-b0", "--to", "torch", "--out", "b0")
    assert (tmp_path / "b0" / "model.py").exists()
    said("--budget", "400M-flops", "--trials", "20", "--no-scale", "--out", "found", "--quiet")
    assert (tmp_path / "found" / "baseline.json").exists()


@pytest.mark.soak
def test_the_two_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, in a clone of what is committed; made short by what is appended."""
    lines = [block.body.strip() for block in blocks("") if block.page == "README.md"]
    first, second = [line for line in lines if line.startswith("python3 -m venv")]
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", ROOT, clone)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("NAS_SEARCH_CACHE", str(tmp_path / "cache"))
    run("bash", "-c", f"{first} --trials 20 --no-scale --quiet", cwd=clone)
    assert (clone / "results" / "efficientnet-400M-flops" / "baseline.json").exists()
    run("bash", "-c", f"{second} -q tests/spaces/test_budget.py", cwd=clone)
