"""Training networks alike on the command line: the table, the document, the picture."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nas.proxies.presets
from nas.cli import _run as command
from nas.files import write_json
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import save_architecture
from nas.networks.compound_scaling import scale
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.records.document import sealed
from nas.records.lock import locked
from nas.runs.comparison import ComparisonSettings, highest_resolution
from nas.spaces.registry import load_space
from tests.support.interrupted import resumable

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def images(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(24):
            pixels = np.clip(rng.normal(level, 60, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return str(tmp_path / "images")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = TrainingSettings(resolution=16, images_seen=48, batch_size=16)
    monkeypatch.setattr(nas.proxies.presets, "default_settings", lambda *of, **how: settings)
    monkeypatch.setattr(nas.proxies.presets, "scaled_settings", lambda settings, *of: settings)
    monkeypatch.setenv("NAS_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def network(width: float = 1.0) -> Architecture:
    space = load_space("tiny")
    first = space.decode({name: values[0] for name, values in space.choices.items()})
    return replace(scale(first, width=width), name=f"width {width:g}")


def files(*widths: float) -> list[str]:
    for width in widths:
        save_architecture(network(width), f"{width}.json")
    return [f"{width}.json" for width in widths]


def test_networks_are_compared_and_the_study_is_kept(
    images: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["compare", *files(1.0, 2.0), "--data", images, "--seeds", "2", "--jobs", "1"]
    assert command([*words, "--out", "c"]) == 0
    captured = capsys.readouterr()
    assert "width 1" in captured.out
    assert "width 2" in captured.out
    assert "as they are trained, narrower and with fewer pixels" in captured.err
    first = Path("c/comparison.json").read_bytes()
    data = json.loads(first)
    assert data["against"] == "width 2"
    assert [entry["accuracy"]["n"] for entry in data["entries"]] == [2, 2]
    low, high = data["entries"][0]["difference"]["ci95"]
    assert low <= data["entries"][0]["difference"]["mean"] <= high
    assert Path("c/comparison.png").stat().st_size > 5_000
    picture = Path("c/comparison.svg").read_bytes()
    assert b"</svg>" in picture
    # Were it to measure the machine's speed again, it would train otherwise now.
    settings = TrainingSettings(resolution=16, images_seen=96, batch_size=16)
    monkeypatch.setattr(nas.proxies.presets, "default_settings", lambda *of, **how: settings)
    assert command([*words, "--out", "c", "--json"]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == data
    assert re.search(r"4/4  in \d+:\d\d  already done", again.err)
    assert Path("c/comparison.json").read_bytes() == first
    assert Path("c/comparison.svg").read_bytes() == picture
    assert command(["verify", "c", "--quiet"]) == 0
    forged = sealed(data | {"entries": [data["entries"][0] | {"score": 0.5}, data["entries"][1]]})
    Path("forged").mkdir()
    for name in ("study.log", "comparison.png", "comparison.svg"):
        Path("forged", name).write_bytes(Path("c", name).read_bytes())
    write_json(Path("forged/comparison.json"), forged)
    assert command(["verify", "forged", "--json", "--quiet"]) == 1
    [found] = json.loads(capsys.readouterr().out)["differences"]
    assert (found["file"], found["key"]) == ("comparison.json", "entries1.score")
    assert data["settings"]["images_seen"] == 48
    other = ["compare", *files(1.0, 3.0), "--data", images, "--out", "c"]
    assert command(other) == 2
    assert ": networks " in capsys.readouterr().err
    assert Path("c/comparison.json").read_bytes() == first


def test_scaled_networks_are_compared_at_equal_flops(images: str, capsys: Captured) -> None:
    [file] = files(1.0)
    words = ["scale", file, "--compare", "--data", images, "--seeds", "1", "--jobs", "1"]
    triple = ["--alpha", "1.5", "--beta", "1.1", "--gamma", "1.05"]
    assert command([*words, *triple, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    names = [entry["name"].removeprefix("width 1-") for entry in data["entries"]]
    assert names == ["paper", "depth", "width", "resolution", "compound"]
    assert data["against"] == "width 1-compound"


def test_images_are_read_with_as_many_pixels_as_are_looked_at() -> None:
    one = network()
    large = replace(one, resolution=20 * one.resolution)
    scaled = ComparisonSettings((one, large), resolution=one.resolution, scaled=True)
    assert highest_resolution(scaled) == 20 * 32  # its own are 32
    assert highest_resolution(replace(scaled, resolution=large.resolution)) == 64
    assert highest_resolution(ComparisonSettings((one, large))) == 32


def test_two_at_once_in_one_folder_are_refused(images: str, capsys: Captured) -> None:
    words = ["compare", *files(1.0, 2.0), "--data", images, "--seeds", "1", "--jobs", "1"]
    Path("c").mkdir()
    with locked(Path("c")):
        assert command([*words, "--out", "c", "--quiet"]) == 2
        assert f"pid {os.getpid()}" in capsys.readouterr().err
        assert [path.name for path in Path("c").iterdir()] == [".lock"]
    assert command([*words, "--out", "c", "--quiet"]) == 0


def test_wrong_input_leaves_no_folder(capsys: Captured) -> None:
    words = ["compare", *files(1.0, 2.0), "--data", "nowhere", "--quiet", "--out", "new/one"]
    assert command(words) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.mark.parametrize("out", [None, "c"])
def test_an_interrupt_says_what_is_left(
    out: str | None, images: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, trained = TrainingProxy.evaluate, 0

    def stopped(self: Any, arch: Architecture, **more: Any) -> Any:
        nonlocal trained
        trained += 1
        if trained == 2:
            raise KeyboardInterrupt
        return train(self, arch, **more)

    monkeypatch.setattr(TrainingProxy, "evaluate", stopped)
    words = ["compare", *files(1.0, 2.0), "--data", images, "--seeds", "1", "--jobs", "1"]
    kept = [] if out is None else ["--out", out]
    assert command([*words, *kept, "--quiet"]) == 130
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert resumable(said) == (out is not None)
    if out is None:
        return
    assert command([*words, *kept]) == 0
    assert "1/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["compare", "1.0.json"], "two or more"),
        (["compare", "1.0.json", "1.0.json"], "two or more"),
        (["compare", "1.0.json", "2.0.json", "--seeds", "0"], "seeds: 0"),
        (["compare", "1.0.json", "2.0.json", "--jobs", "0"], "jobs: 0"),
        (["compare", "1.0.json", "2.0.json", "--jobs", "-1"], "jobs: -1"),
        (["scale", "1.0.json", "--compare", "--data", "images", "--jobs", "0"], "jobs: 0"),
        (["compare", "1.0.json", "nothing.json"], "nothing.json"),
        (["scale", "1.0.json", "--data", "images"], "--compare"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], named: str, capsys: Captured) -> None:
    files(1.0, 2.0)
    assert command(words) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert named in error
