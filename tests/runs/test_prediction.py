"""`nas-search predict`, and the weights that `export` finds by itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nas
from nas.cli import _run as command
from nas.data.dataset import ImageOptions
from nas.export.random_network import random_network
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.weights_file import save_weights
from nas.runs.prediction import image_files
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train
from tests.support.silent import Silent

NETWORK = Architecture(
    name="small",
    resolution=24,
    in_channels=3,
    num_classes=2,
    activation="relu",
    norm=Norm(),
    stem=Stem(3, 2, 8),
    stages=(Stage("mbconv", 3, 2, 2, 8, 1, 0.25),),
    head=Head(16, 0.0),
)


def picture(path: Path, colour: tuple[int, ...], rng: np.random.Generator, size=(40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.clip(rng.normal(colour, 60, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module", params=["crop", "pad", "squeeze"])
def trained(request, tmp_path_factory) -> Path:
    """A training on oblong pictures, by each way of making squares."""
    folder = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("validation", 12)):
        for name, colour in (("blue", (60, 60, 180)), ("red", (180, 60, 60))):
            for i in range(count):
                picture(folder / "data" / split / name / f"{i}.png", colour, rng)
    settings = TrainSettings(
        architecture=NETWORK,
        data=str(folder / "data"),
        out=folder / "trained",
        epochs=2,
        batch_size=16,
        image_options=ImageOptions(fit=request.param),
    )
    train(settings, Silent())
    return folder


def test_predictions_are_those_of_the_training(trained):
    history = json.loads((trained / "trained" / "history.json").read_text())
    right = 0
    found = nas.predict(trained / "trained", [trained / "data" / "validation"], batch_size=5)
    assert len(found) == 24
    for one in found:
        assert one.error is None
        assert sum(guess.probability for guess in one.top) == pytest.approx(1, abs=1e-4)
        right += one.top[0].name == one.image.parent.name
    assert right / 24 == pytest.approx(history["validation"]["accuracy"]["mean"], abs=1e-9)


@pytest.fixture
def plain(tmp_path) -> Path:
    """Random weights with what they know of their images, and some pictures."""
    from nas.networks.weights_file import TrainedOn

    about = TrainedOn((0.5,) * 3, (0.2,) * 3, 24, ("cat", "dog"))
    save_weights(random_network(NETWORK, 0), NETWORK, tmp_path / "w.safetensors", trained_on=about)
    rng = np.random.default_rng(1)
    for name in ("a", "b", "sub/c"):
        picture(tmp_path / "images" / f"{name}.png", (120, 90, 60), rng, (24, 24))
    return tmp_path


def test_the_command(plain, capsys, monkeypatch):
    weights, images = str(plain / "w.safetensors"), str(plain / "images")
    assert command(["predict", weights, images]) == 0
    shown = capsys.readouterr().out
    assert "3 images" in shown
    assert "cat" in shown
    assert command(["predict", weights, f"{images}/a.png"]) == 0
    assert "probability" in capsys.readouterr().out
    assert command(["predict", weights, images, "--json", "--top", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["cat", "dog"]
    assert [Path(one["path"]).name for one in found["images"]] == ["a.png", "b.png", "c.png"]
    assert all(len(one["top"]) == 1 for one in found["images"])
    table = plain / "table.csv"
    assert command(["predict", weights, images, "--csv", str(table), "--quiet"]) == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "image,rank,class,probability"
    assert len(lines) == 1 + 3 * 2


def test_a_list_on_standard_input(plain, capsys, monkeypatch):
    import io

    listed = "\n".join(str(plain / "images" / f"{name}.png") for name in ("b", "a")) + "\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(listed))
    assert command(["predict", str(plain / "w.safetensors"), "-", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(one["path"]).name for one in found["images"]] == ["b.png", "a.png"]


def test_grey_deep_and_turned_images(plain):
    images = plain / "images"
    straight = Image.open(images / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    straight.transpose(Image.Transpose.ROTATE_180).save(images / "turned.png", exif=exif)
    grey = np.asarray(straight.convert("L"))
    Image.fromarray(grey).save(images / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(images / "deep.png")
    found = {one.image.name: one for one in nas.predict(plain / "w.safetensors", [images])}
    assert found["turned.png"].top == found["a.png"].top
    assert found["deep.png"].top == found["grey.png"].top


def test_some_that_cannot_be_read_are_named_and_the_others_printed(plain, capsys):
    (plain / "images" / "broken.png").write_bytes(b"nothing")
    assert command(["predict", str(plain / "w.safetensors"), str(plain / "images")]) == 1
    out, err = capsys.readouterr()
    assert "3 images" in out
    assert "1 of 4 images cannot be read" in err
    assert "broken.png: not an image" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["w.safetensors", "none.png"], "none.png: no such file"),
        (["w.safetensors", "empty"], "empty: no images in this folder"),
        (["none.safetensors", "images"], "none.safetensors: no such file"),
        (["images", "images"], "images: has no weights: accepted: a folder with"),
        (["w.safetensors", "images", "--top", "0"], "top: 0 is not accepted"),
        (["w.safetensors", "images", "--weights-arch", "b99"], "no such file, and no known name"),
    ],
)
def test_wrong_input_is_one_line(plain, capsys, monkeypatch, words, said):
    monkeypatch.chdir(plain)
    (plain / "empty").mkdir()
    assert command(["predict", *words]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "nas-search:" in line]
    assert len(told) == 1
    assert said in told[0]


def test_export_finds_the_weights_beside(plain, capsys):
    folder = plain / "trained"
    folder.mkdir()
    nas.save_architecture(NETWORK, folder / "architecture.json")
    shutil.copy(plain / "w.safetensors", folder / "weights.safetensors")
    for number, place in enumerate((folder / "architecture.json", folder)):
        out = plain / f"out{number}"
        assert command(["export", str(place), "--to", "torch", "--out", str(out)]) == 0
        assert "weights.safetensors" in capsys.readouterr().err
        assert (out / "weights.pt").exists() or list(out.glob("*.safetensors"))
        document = json.loads((out / "export.json").read_text())
        assert document["trained_on"]["classes"] == ["cat", "dog"]
    words = ["--to", "torch", "--weights", "none", "--out", str(plain / "random")]
    assert command(["export", str(folder), *words]) == 0
    assert "trained_on" not in json.loads((plain / "random" / "export.json").read_text())
    other = replace(NETWORK, stages=())
    nas.save_architecture(other, folder / "architecture.json")
    capsys.readouterr()
    assert command(["export", str(folder), "--to", "torch", "--out", str(plain / "other")]) == 0
    assert "is not used: it is of another small" in capsys.readouterr().err
    assert "trained_on" not in json.loads((plain / "other" / "export.json").read_text())


def test_deep_images_are_scaled_by_the_range_of_the_training(tmp_path):
    """12 bits in 16-bit files: one dark image says nothing of the range."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("validation", 6)):
        for name, level in (("dark", 600), ("light", 3000)):
            for i in range(count):
                path = tmp_path / "data" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(rng.normal(level, 300, (24, 24)), 0, 4095).astype(np.uint16)
                Image.fromarray(pixels).save(path)
    settings = TrainSettings(
        architecture=NETWORK,
        data=str(tmp_path / "data"),
        out=tmp_path / "trained",
        epochs=3,
        batch_size=16,
    )
    train(settings, Silent())
    history = json.loads((tmp_path / "trained" / "history.json").read_text())
    found = nas.predict(tmp_path / "trained", [tmp_path / "data" / "validation"])
    loss = -np.mean(
        [
            np.log(next(g.probability for g in one.top if g.name == one.image.parent.name))
            for one in found
        ]
    )
    assert loss == pytest.approx(history["validation"]["accuracy"]["loss"], abs=1e-4)


def test_a_folder_is_read_in_the_order_in_which_people_count(tmp_path):
    for name in ("10.png", "9.png", "b/2.png", "B/10.png", "scan 2.PNG", "scan 11.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [str(path.relative_to(tmp_path)) for path in image_files([str(tmp_path)])]
    assert found == ["9.png", "10.png", "b/2.png", "B/10.png", "scan 2.PNG", "scan 11.png"]
