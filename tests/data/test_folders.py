"""Folders of images: which are classes, which are splits, and what is left out."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data import ImageData, load_images
from nas.data.source import splits_by_name
from nas.errors import InputError


def put(folder: Path, images: int = 4, ending: str = "png", name: str = "") -> Path:
    """Write random images into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(folder)))
    for index in range(images):
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}{index}.{ending}")
    return folder


def sizes(data: ImageData) -> tuple[int, int, int]:
    """The number of images in the training, validation and test part."""
    train, validation, test = data.parts
    return len(train[1]), len(validation[1]), 0 if test is None else len(test[1])


# Splits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("train", "validation", "test")),
        (("Training", "Validation"), ("train", "validation")),
        (("training_set", "test_set"), ("train", "test")),
        (("train2017", "val2017"), ("train", "validation")),
        (("seg_train", "seg_test", "seg_pred"), ("train", "test", "unlabelled")),
        (("train_images", "test images"), ("train", "test")),
        (("my-train", "my-test"), ("train", "test")),
        (("TrainSet", "TestSet"), ("train", "test")),
        (("train station", "bus stop"), (None, None)),
        (("test tube", "flask"), (None, None)),
        (("contest", "trained"), (None, None)),
        (("cats", "dogs"), (None, None)),
    ],
)
def test_names_of_splits(names: tuple[str, ...], splits: tuple[str | None, ...]) -> None:
    found = splits_by_name(names)
    assert tuple(found.get(name) for name in names) == splits


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
        ("Train", "Test"),
        ("train_images", "test_images"),
    ],
)
def test_splits_by_other_names(tmp_path: Path, train: str, test: str) -> None:
    for name in ("cats", "dogs"):
        put(tmp_path / train / name, 10)
        put(tmp_path / test / name, 3)
    data = load_images(tmp_path)
    assert data.classes == ("cats", "dogs")
    assert sizes(data) == (18, 2, 6)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "test"), "'train' has no class folders in it"),
        (("train", "test", "sample"), "named like splits"),
        (("test/cats", "test/dogs", "val/cats", "val/dogs"), "'test', 'val': named like splits"),
        (("train/a", "train/b", "training/a", "training/b"), "both names of the train split"),
        (("cats/train", "cats/test", "dogs/train", "dogs/test"), "splits in a class folder"),
        (("images/train", "images/val", "labels/train"), "splits in a class folder"),
        (("photos/cats", "photos/dogs"), "give .*/photos"),
        (("pets/pets/cats", "pets/pets/dogs"), "give .*/pets/pets"),
        (("fold1/cats", "fold1/dogs", "fold2/cats", "fold2/dogs"), "have the same folders in"),
        (("all/train/cats", "all/train/dogs", "all/test/cats"), "give .*/all"),
    ],
)
def test_a_layout_that_cannot_be_told_is_refused(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    for folder in folders:
        put(tmp_path / folder)
    with pytest.raises(InputError, match=message):
        load_images(tmp_path)


def test_images_without_folders_are_refused_with_the_layout(tmp_path: Path) -> None:
    put(tmp_path, 5)
    with pytest.raises(InputError, match=r"5 images \(for example 0\.png\); expected are CLASS"):
        load_images(tmp_path)


def test_a_table_beside_flat_images_is_refused_with_the_name_that_it_needs(tmp_path: Path) -> None:
    put(tmp_path, 5)
    (tmp_path / "labels.csv").write_text("id,breed\n0,pug\n")
    with pytest.raises(InputError, match=r"labels\.csv.*metadata\.csv.*file_name and label"):
        load_images(tmp_path)


@pytest.mark.parametrize("held_out", ["flat", "images"])
def test_a_test_split_without_classes_is_left_out(tmp_path: Path, held_out: str) -> None:
    for name in ("cats", "dogs"):
        put(tmp_path / "train" / name)
    put(tmp_path / "test" / ("" if held_out == "flat" else "images"), 7)
    data = load_images(tmp_path)
    assert data.test_images is None
    assert any("left out 7 files of the test split" in note for note in data.notes)


def test_classes_are_matched_by_name_whatever_their_normal_form(tmp_path: Path) -> None:
    name = "café"
    for split, form in (("train", "NFC"), ("test", "NFD")):
        put(tmp_path / split / unicodedata.normalize(form, name))  # type: ignore[arg-type]
        put(tmp_path / split / "bar")
    data = load_images(tmp_path)
    assert data.classes == ("bar", name)
    assert sizes(data)[2] == 8


def test_a_class_in_other_letters_is_an_error_with_a_hint(tmp_path: Path) -> None:
    for folder in ("train/cat", "train/dog", "test/Cat"):
        put(tmp_path / folder)
    with pytest.raises(InputError, match=r"'Cat'.*; is 'cat' meant"):
        load_images(tmp_path)


def test_folders_within_class_folders_are_taken_together_and_said(tmp_path: Path) -> None:
    for folder in ("cat/2024", "cat/2025", "dog/2024", "dog/2025", "owl"):
        put(tmp_path / folder)
    data = load_images(tmp_path)
    assert data.classes == ("cat", "dog", "owl")
    assert any("2 of the classes are in folders within the class" in note for note in data.notes)


def test_test_images_that_are_training_images_are_counted(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / "train" / name)
        put(tmp_path / "test" / name)
    copied = tmp_path / "test" / "cat" / "0.png"
    copied.write_bytes((tmp_path / "train" / "dog" / "1.png").read_bytes())
    assert "1 of 8 test images are training images, too" in load_images(tmp_path).notes


# What is left out ---------------------------------------------------------------------------------


def test_an_underscore_does_not_hide_a_class(tmp_path: Path) -> None:
    for name in ("_background", "cat", "dog"):
        put(tmp_path / name)
    assert load_images(tmp_path).classes == ("_background", "cat", "dog")


def test_linked_folders_are_read(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", 6)
    root = tmp_path / "data"
    for name in ("cat", "dog"):
        put(root / name)
    (root / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    assert sum(sizes(load_images(root))) == 14


def test_a_folder_that_contains_itself_is_read_once(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / name)
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    data = load_images(tmp_path)
    assert sum(sizes(data)) == 8
    assert any(
        "behind a link to a folder around it (for example cat/again)" in n for n in data.notes
    )


def test_everything_left_out_is_said(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / name)
    put(tmp_path, 3, name="loose")
    put(tmp_path / ".ipynb_checkpoints", 2)
    put(tmp_path / "cat" / ".thumbnails", 5)
    put(tmp_path / "__MACOSX" / "cat", 4)
    (tmp_path / "dog" / "notes.txt").write_text("a dog")
    (tmp_path / "dog" / "phone.heic").write_bytes(b"?")
    data = load_images(tmp_path)
    assert data.classes == ("cat", "dog")
    assert sum(sizes(data)) == 8
    assert set(data.notes) >= {
        "left out 3 files beside the class folders (for example loose0.png)",
        "left out 6 files in hidden folders (for example .ipynb_checkpoints/0.png)",
        "left out 5 files with a hidden name (for example cat/.thumbnails/0.png)",
        "left out 2 files without an image that can be read (for example dog/notes.txt)",
    }


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPG", "jp2", "dib", "ico", "avif", "apng"])
def test_endings_that_pillow_reads(tmp_path: Path, ending: str) -> None:
    formats = {"jfif": "JPEG", "jpe": "JPEG", "JPG": "JPEG", "apng": "PNG"}
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(3):
            image = Image.new("RGB", (16, 16), (index * 60, 0, 99))
            image.save(tmp_path / name / f"{index}.{ending}", formats.get(ending))
    assert sum(sizes(load_images(tmp_path))) == 6


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        folder = put(tmp_path / name)
        os.rename(os.fsencode(folder / "0.png"), os.fsencode(folder) + b"/\xff.png")
    assert sum(sizes(load_images(tmp_path))) == 8


# Tables of labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_of_labels(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "images", 9)
    labels = [(f"images/{index}.png", "ab"[index % 2]) for index in range(8)]
    if kind == "csv":
        lines = ["file_name,label", *(",".join(row) for row in labels)]
    else:
        lines = [f'{{"file_name": "{file}", "label": "{label}"}}' for file, label in labels]
    (tmp_path / f"metadata.{kind}").write_text("\n".join(lines))
    data = load_images(tmp_path)
    assert data.classes == ("a", "b")
    assert sum(sizes(data)) == 8
    assert f"labels are read from metadata.{kind}" in data.notes
    assert any("left out 1 file not listed in the table" in note for note in data.notes)


def test_a_table_in_each_split(tmp_path: Path) -> None:
    for split, images in (("train", 8), ("test", 4)):
        put(tmp_path / split, images)
        rows = "".join(f"{index}.png,{'ab'[index % 2]}\n" for index in range(images))
        (tmp_path / split / "metadata.csv").write_text("file_name,label\n" + rows)
    assert sizes(load_images(tmp_path)) == (6, 2, 4)


def test_a_table_of_captions_is_no_table_of_labels(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("file_name,text\ncat/0.png,a cat\n")
    assert load_images(tmp_path).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9.png,a", "row 2: .*9.png: no such file"),
        ("../0.png,a", "row 2: .*outside the folder"),
        ("/etc/passwd,a", "row 2: .*outside the folder"),
        (",a", "row 2: file_name is missing"),
        ("1.png,", "row 2: label is missing"),
        ("0.png,b", "has two labels"),
    ],
)
def test_a_wrong_table(tmp_path: Path, row: str, message: str) -> None:
    put(tmp_path, 4)
    (tmp_path / "metadata.csv").write_text(f"file_name,label\n0.png,a\n{row}\n")
    with pytest.raises(InputError, match=message):
        load_images(tmp_path)


# The cache of prepared images ---------------------------------------------------------------------


def linked(tmp_path: Path) -> Path:
    """Class folders whose images are links into one folder."""
    store = put(tmp_path / "store", 24)
    for index in range(24):
        folder = tmp_path / "data" / ("cat" if index < 12 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:02}.png").symlink_to(store / f"{index}.png")
    return tmp_path / "data"


@pytest.mark.parametrize("change", ["relabelled", "renamed", "relinked"])
def test_prepared_images_are_made_anew_when_labels_change(tmp_path: Path, change: str) -> None:
    root, cache = linked(tmp_path), tmp_path / "cache"
    before = load_images(root, cache=cache)
    if change == "relabelled":
        for index in range(6, 12):
            (root / "cat" / f"{index:02}.png").rename(root / "dog" / f"{index:02}.png")
    elif change == "renamed":
        (root / "dog").rename(root / "wolf")
    else:
        link = root / "cat" / "00.png"
        link.unlink()
        link.symlink_to(tmp_path / "store" / "23.png")
    after = load_images(root, cache=cache)
    assert after.fingerprint == load_images(root).fingerprint
    assert after.fingerprint != before.fingerprint


def test_prepared_images_are_made_anew_when_splits_change(tmp_path: Path) -> None:
    """Links to the same files in the same order, of which the last class moves to another split."""
    store, root, cache = put(tmp_path / "store", 24), tmp_path / "data", tmp_path / "cache"
    for index, folder in enumerate(["train/cat", "train/dog", "val/cat", "val/dog"] * 6):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{index:02}.png").symlink_to(store / f"{index}.png")
    before = load_images(root, cache=cache)
    (root / "val").rename(root / "test")
    after = load_images(root, cache=cache)
    assert before.test_images is None
    assert after.test_images is not None


def test_prepared_images_are_found_again(tmp_path: Path) -> None:
    root, cache = linked(tmp_path), tmp_path / "cache"
    first = load_images(root, cache=cache)
    files = sorted(cache.iterdir())
    assert load_images(root, cache=cache).fingerprint == first.fingerprint
    assert sorted(cache.iterdir()) == files
    load_images(root, cache=cache, fit="pad")
    assert len(list(cache.iterdir())) == len(files) + 1
