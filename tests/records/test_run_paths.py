"""What a run's command names is found again, wherever the run is resumed from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.cli import _run as command
from nas.records.run_paths import found_again, run_paths

WORDS = ["--space", "space.toml", "--budget", "5M-flops", "--no-scale", "--quiet"]


def test_words_that_are_there_are_kept_absolute_and_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    found = run_paths(
        {word: word for word in ("images", "efficientnet", "nowhere/")},
        tmp_path / "results" / "run",
    )
    assert list(found) == ["images"]
    assert found["images"].absolute == str(tmp_path / "images")
    assert found["images"].relative == "../../images"


@pytest.mark.parametrize("moved", ["nothing", "the run", "both", "a run that was finished"])
def test_they_are_found_again(tmp_path: Path, moved: str) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "images").mkdir(parents=True)
    (before / "run").mkdir()
    paths = run_paths({str(before / "images"): str(before / "images")}, before / "run")
    folder, expected = before / "run", before / "images"
    if moved == "the run":
        folder = Path(shutil.move(before / "run", tmp_path / "elsewhere"))
    elif moved == "both":
        before.rename(after)
        folder, expected = after / "run", after / "images"
    elif moved == "a run that was finished":
        paths = {w: path.model_copy(update={"absolute": None}) for w, path in paths.items()}
    assert found_again(paths, folder) == {str(before / "images"): str(expected)}


def test_what_is_nowhere_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    paths = run_paths({str(tmp_path / "images"): str(tmp_path / "images")}, tmp_path / "run")
    (tmp_path / "images").rmdir()
    assert found_again(paths, tmp_path / "run") == {}


def test_resume_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.spaces.registry import load_space
    from tests.support.paths import ROOT

    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    shutil.copy(ROOT / "search_spaces" / "tiny.toml", home / "space.toml")
    assert load_space(str(home / "space.toml")).name == "tiny"
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (home / "images" / name).mkdir(parents=True)
        for index in range(6):
            pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(home / "images" / name / f"{index}.png")
    monkeypatch.chdir(home)
    words = [
        *WORDS,
        "--data",
        "images",
        "--proxy",
        "zero-cost:naswot",
        "--out",
        "run",
        "--no-train",
    ]
    assert command([*words, "--trials", "2", "--finalists", "0", "--no-check"]) == 0
    state = json.loads((home / "run" / "run.json").read_text())
    assert state["command"]["data"] == "images"
    assert state["paths"]["images"] == {"absolute": None, "relative": "../images"}
    monkeypatch.chdir(other)
    assert command(["resume", str(home / "run"), "--trials", "3", "--quiet"]) == 0
    state = json.loads((home / "run" / "run.json").read_text())
    assert state["command"]["data"] == "images"
    assert state["paths"]["images"]["relative"] == "../images"
    assert state["trials"]["finished"] == 3
