"""``nas-search verify`` of a training: what was changed is found, even where every hash fits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.errors import InputError
from nas.files import sha256, write_json
from nas.records.document import sealed
from nas.records.training_document import TrainingDocument
from nas.runs.training import train as training_life
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train
from nas.runs.verify.verify import verify
from tests.support.colours import made_up
from tests.support.silent import Silent

HISTORY = TrainingDocument.FILE


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = nas.load_space("tiny")
    network = space.decode({name: values[0] for name, values in space.choices.items()})
    folder = tmp_path_factory.mktemp("trained") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_life, "load_data", lambda *_: made_up())
        train(TrainSettings(network, "made up", folder, resolution=16, epochs=2, test=True))
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def keys(folder: Path) -> set[tuple[str, str]]:
    return {(one.file, one.key) for one in verify(folder, Silent()).differences}


def forge(folder: Path, name: str, data: Any) -> None:
    """Write a file, and make the hash of it and the seal fit."""
    if name != HISTORY:
        write_json(folder / name, data)
        data = json.loads((folder / HISTORY).read_text())
        data["files"][name] = sha256(folder / name)
    write_json(folder / HISTORY, sealed(data))


def test_a_finished_training_differs_in_nothing(trained: Path) -> None:
    result = verify(trained, Silent())
    assert result.differences == ()
    assert result.kind == "training"
    assert result.files == 4
    assert not [note for note in result.notes if "not listed" in note]


@pytest.mark.parametrize(
    "name", [HISTORY, "architecture.json", "weights.safetensors", "history.png"]
)
def test_a_changed_byte_is_found(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    try:
        found = {file for file, _ in keys(copy)}
    except InputError as error:  # of the history itself: it may be no document any more
        found = {HISTORY} if HISTORY in str(error) else set()
    assert name in found


@pytest.mark.parametrize(
    ("name", "path", "key"),
    [
        (HISTORY, ("test", "classes", 0, "precision"), "test.classes1.precision"),
        (HISTORY, ("validation", "confusion", 0, 0), "validation.classes1.support"),
        (HISTORY, ("epochs", 0, "seconds"), "seconds"),
        (HISTORY, ("cost", "flops"), "cost.flops"),
        (HISTORY, ("resolution",), "resolution"),
        ("architecture.json", ("cost", "params"), "cost.params"),
        ("architecture.json", ("accuracy", "mean"), "accuracy.mean"),
        ("architecture.json", ("provenance", "training", "epochs"), "provenance.training.epochs"),
    ],
)
def test_what_is_derived_is_computed_again(
    copy: Path, name: str, path: tuple[Any, ...], key: str
) -> None:
    data = json.loads((copy / name).read_text())
    *outer, last = path
    place = data
    for part in outer:
        place = place[part]
    place[last] = (place[last] or 0) + (1 if isinstance(place[last], int) else -0.001)
    forge(copy, name, data)
    assert (name, key) in keys(copy)


def test_weights_of_another_normalisation_are_found(copy: Path) -> None:
    data = json.loads((copy / HISTORY).read_text())
    data["normalisation"]["mean"][0] += 0.1
    forge(copy, HISTORY, data)
    assert ("weights.safetensors", "mean1") in keys(copy)


def test_an_unfinished_training_is_told_to_go_on(copy: Path) -> None:
    TrainingDocument.read(copy).updated(status="running").write(copy)
    with pytest.raises(InputError, match="not finished"):
        verify(copy, Silent())
