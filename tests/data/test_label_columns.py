"""Labels of Parquet files and saved data sets: their names, their types, their splits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nas.data import load_images
from nas.errors import InputError

COLOURS = {"cat": (200, 0, 0), "dog": (0, 0, 200), "owl": (0, 200, 0)}


def cell(colour: tuple[int, int, int]) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def named(names: Sequence[str], shown: Sequence[str]) -> datasets.Dataset:
    """Images of the classes `shown`, numbered by their place in `names`."""
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    )
    rows = {
        "image": [cell(COLOURS[name]) for name in shown],
        "label": [names.index(name) for name in shown],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def colour_of(data: Any, part: str, label: int) -> tuple[int, ...]:
    images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
    return tuple(images[labels == label][0][:, 4, 4].tolist())


def test_splits_that_count_classes_in_other_orders_are_matched_by_name(tmp_path: Path) -> None:
    named(["cat", "dog"], ["cat", "dog"] * 4).to_parquet(tmp_path / "train-0.parquet")
    named(["dog", "cat"], ["cat", "dog"] * 2).to_parquet(tmp_path / "test-0.parquet")
    data = load_images(tmp_path)
    assert data.classes == ("cat", "dog")
    for part in ("train", "test"):
        assert colour_of(data, part, 0) == COLOURS["cat"]
        assert colour_of(data, part, 1) == COLOURS["dog"]
    assert any("matched by name" in note for note in data.notes)


def test_a_class_that_training_images_lack_is_named(tmp_path: Path) -> None:
    named(["cat", "dog"], ["cat", "dog"] * 4).to_parquet(tmp_path / "train-0.parquet")
    named(["owl", "cat"], ["owl", "cat"]).to_parquet(tmp_path / "test-0.parquet")
    with pytest.raises(InputError, match=r"0, 'owl', is none of the 2 classes"):
        load_images(tmp_path)


def test_files_of_one_split_must_number_classes_alike(tmp_path: Path) -> None:
    named(["cat", "dog"], ["cat", "dog"]).to_parquet(tmp_path / "train-0.parquet")
    named(["dog", "cat"], ["cat", "dog"]).to_parquet(tmp_path / "train-1.parquet")
    with pytest.raises(InputError, match=r"train-1\.parquet: column 'label' has the classes dog"):
        load_images(tmp_path)


def test_files_of_no_split_are_left_out_and_said(tmp_path: Path) -> None:
    named(["cat", "dog"], ["cat", "dog"] * 4).to_parquet(tmp_path / "train-0.parquet")
    named(["cat", "dog"], ["cat", "dog"]).to_parquet(tmp_path / "more.parquet")
    Image.new("RGB", (8, 8)).save(tmp_path / "preview.png")
    notes = load_images(tmp_path).notes
    assert "left out 1 parquet file whose name is of no split (for example more.parquet)" in notes
    assert "left out 1 image beside the parquet files (for example preview.png)" in notes


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False], ("False", "True")),
        ([1.0, 3.0], ("1", "3")),
        (["b", "a"], ("a", "b")),
        ([7, 5], ("5", "7")),
    ],
)
def test_types_of_labels(tmp_path: Path, labels: list[Any], classes: tuple[str, ...]) -> None:
    table = pa.table({"image": [cell((9, 9, 9))] * 8, "label": labels * 4})
    pq.write_table(table, tmp_path / "train.parquet")
    assert load_images(tmp_path).classes == classes


@pytest.mark.parametrize(
    ("label", "message"), [(0.5, "0.5 is not accepted: a whole number"), (float("nan"), "missing")]
)
def test_labels_that_are_no_classes(tmp_path: Path, label: float, message: str) -> None:
    table = pa.table({"image": [cell((9, 9, 9))] * 4, "label": [0.0, 1.0, 1.0, label]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(InputError, match=message):
        load_images(tmp_path)


@pytest.mark.parametrize("splits", [True, False])
def test_a_folder_that_save_to_disk_wrote(tmp_path: Path, splits: bool) -> None:
    train = named(["cat", "dog"], ["cat", "dog"] * 6)
    if splits:
        test = named(["dog", "cat"], ["cat", "dog"])
        datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / "saved")
    else:
        train.save_to_disk(tmp_path / "saved")
    data = load_images(tmp_path / "saved")
    assert data.classes == ("cat", "dog")
    assert colour_of(data, "train", 1) == COLOURS["dog"]
    assert (data.test_images is not None) == splits
    if splits:
        assert colour_of(data, "test", 1) == COLOURS["dog"]
