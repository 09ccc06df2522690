"""The command export: its folder, which is whole or not there, and what it prints."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nas
from nas.cli import _run as command
from nas.export import targets
from nas.export.equivalence import ACCEPTED
from nas.networks.cost import measure_cost
from nas.networks.optional_packages import package
from tests.support.exports import small


@pytest.fixture
def file(tmp_path: Path) -> str:
    nas.save_architecture(small(), tmp_path / "small.json")
    return str(tmp_path / "small.json")


def test_the_same_command_writes_the_same_files(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", file, "--to", "torch", "--out", str(tmp_path / "out")]
    assert command(arguments) == 0
    said = capsys.readouterr().out
    assert "small for torch: equivalent to the original" in said
    assert f"{measure_cost(small()).params:,}" in said
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert command([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["out"] == str(tmp_path / "out")
    logits = document["equivalence"]["logits"]
    assert logits["accepted"] == ACCEPTED * logits["largest"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    assert {path.name for path in tmp_path.iterdir()} == {"out", "small.json"}


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_python_leaves_nothing_in_the_folder_and_an_import_hinders_nothing(
    target: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user has Python: it keeps what it compiled beside the file that it imports."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    out = tmp_path / "out"
    arguments = ["export", file, "--to", target, "--out", str(out), "-q"]
    assert command(arguments) == 0
    listed = set(json.loads((out / "export.json").read_text())["files"])
    assert {path.name for path in out.iterdir()} == listed | {"export.json"}
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"compiled")
    assert command(arguments) == 0
    assert {path.name for path in out.iterdir()} == listed | {"export.json"}


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_removed_or_put_back(file: str, tmp_path: Path) -> None:
    out, pid = tmp_path / "out", ended()
    arguments = ["export", file, "--to", "json", "--out", str(out), "-q"]
    assert command(arguments) == 0
    first = (out / "export.json").read_bytes()
    half, running = tmp_path / f".out.{pid}.tmp", tmp_path / ".out.1.tmp"
    for place in (half, running):
        place.mkdir()
        (place / "architecture.json").write_text("half")
    out.rename(tmp_path / f".out.{pid}.old")  # killed between the two steps of replacing it
    assert command([*arguments, "--seed", "1"]) == 2  # the earlier export is there again
    assert (out / "export.json").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {"out", "small.json", running.name}


def test_an_export_that_cannot_be_put_in_place_leaves_the_earlier_one(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["export", file, "--to", "json", "--out", str(out), "-q"]
    assert command(arguments) == 0
    first = (out / "export.json").read_bytes()
    rename, calls = os.rename, 0

    def failing(*places: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        rename(*places)

    monkeypatch.setattr("nas.export.folder.os.rename", failing)
    assert command(arguments) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (out / "export.json").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {"out", "small.json"}


def edit(out: Path) -> None:
    (out / "model.py").write_text("mine")


def add(out: Path) -> None:
    (out / "notes.txt").write_text("mine")


def empty(out: Path) -> None:
    (out / "export.json").unlink()


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (edit, [], "'model.py' was changed since"),
        (add, [], "'notes.txt' is not of this export"),
        (empty, [], "holds 'model.py'"),
        (lambda out: None, ["--seed", "1"], "another export: seed differ"),
        (lambda out: None, ["--to", "onnx"], "another export: target differ"),
    ],
)
def test_other_files_are_never_replaced(
    change: Callable[[Path], None],
    more: list[str],
    said: str,
    file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = ["export", file, "--to", "torch", "--out", str(out), "-q"]
    assert command(arguments) == 0
    change(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert command([*arguments, *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "tflite"], "target 'tflite' is not accepted: timm, torchvision, onnx, torch"),
        (["--to", "timm", "--int8"], "--int8 needs --to onnx"),
        (["--to", "timm", "--dynamic-resolution"], "--dynamic-resolution needs --to onnx"),
        (["--to", "onnx", "--int8"], "--int8 needs --weights"),
        (["--to", "onnx", "--data", "fractals"], "--data needs --int8"),
        (["--to", "onnx", "--weights", "none.safetensors"], "none.safetensors: no such file"),
        ([], "Missing option '--to'"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    said: str,
    file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(["export", file, "--out", str(tmp_path / "out"), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("target", "missing"), [("timm", "timm"), ("onnx", "onnxruntime")])
def test_a_missing_package_is_named(
    target: str,
    missing: str,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    package.cache_clear()
    assert command(["export", file, "--to", target, "--out", str(tmp_path / "out")]) == 2
    package.cache_clear()
    error = capsys.readouterr().err
    assert f"{missing} is not installed: pip install 'nas-search[export]'" in error
    assert error.count("\n") == 1


def test_an_export_that_is_not_equivalent_is_status_1(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(targets, "count", lambda model, resolution: (1, 1))
    assert command(["export", file, "--to", "onnx", "--out", str(tmp_path / "out"), "-q"]) == 1
    assert "parameters, not" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
