"""Images that belong together stay together, and test images are held out."""

import csv
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nas.data import ImageData, load_images
from nas.data.grouped_split import grouped_split
from nas.errors import InputError

PATIENTS, EACH = 40, 15


def picture(patient: int, number: int) -> Image.Image:
    pixels = np.full((4, 4, 3), 7, np.uint8)
    pixels[0, 0] = patient, number, 0
    return Image.fromarray(pixels)


def patients(data: ImageData) -> list[set[int]]:
    """The patients of each part, read from a pixel of their images."""
    return [set() if part is None else set(part[0][:, 0, 0, 0].tolist()) for part in data.parts]


def write_folders(root: Path) -> Path:
    """CLASS/PATIENT/IMAGE; every patient has images of both classes."""
    for patient in range(PATIENTS):
        for number in range(EACH):
            folder = root / ("ill" if number % 3 else "well") / f"p{patient}"
            folder.mkdir(parents=True, exist_ok=True)
            picture(patient, number).save(folder / f"{number}.png")
    return root


def write_table(root: Path) -> Path:
    root.mkdir()
    with (root / "metadata.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("file_name", "label", "patient"))
        for patient in range(PATIENTS):
            for number in range(EACH):
                name = f"{patient}-{number}.png"
                picture(patient, number).save(root / name)
                table.writerow((name, "ill" if number % 3 else "well", f"p{patient}"))
    return root


def write_saved(root: Path) -> Path:
    rows = [(patient, number) for patient in range(PATIENTS) for number in range(EACH)]
    datasets.Dataset.from_dict(
        {
            "image": [picture(*row) for row in rows],
            "label": [int(number % 3 > 0) for _, number in rows],
            "patient": [patient for patient, _ in rows],
        }
    ).cast_column("image", datasets.Image()).save_to_disk(str(root))
    return root


@pytest.mark.parametrize(
    ("write", "groups"),
    [(write_folders, "folder"), (write_table, "patient"), (write_saved, "patient")],
)
def test_a_patient_is_in_one_part_alone(write, groups, tmp_path):
    folder = write(tmp_path / "images")
    data = load_images(folder, groups=groups)
    train, validation, test = patients(data)
    assert train | validation | test == set(range(PATIENTS))
    assert len(train) + len(validation) + len(test) == PATIENTS
    assert data.test_labels is not None
    assert 0.1 < len(data.test_labels) / 600 < 0.2
    assert 0.05 < len(data.validation_labels) / 600 < 0.13
    for labels in (data.train_labels, data.validation_labels, data.test_labels):
        assert 0.55 < float(labels.float().mean()) < 0.75 or float(labels.float().mean()) < 0.45
    mixed = load_images(folder)
    assert sum(map(len, patients(mixed))) > PATIENTS


def test_groups_that_several_parts_share_are_counted(tmp_path):
    for split, patient in (("train", 1), ("train", 2), ("test", 2), ("test", 3)):
        for name in ("ill", "well"):
            folder = tmp_path / split / name / f"p{patient}"
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(3):
                picture(patient, 10 * (name == "ill") + number).save(folder / f"{number}.png")
    data = load_images(tmp_path, groups="folder")
    assert "6 of 12 test images are of groups that training images are of, too" in data.notes


@pytest.mark.parametrize(
    ("write", "groups", "said"),
    [
        (write_folders, "patient", "no table of labels with a column 'patient'"),
        (write_table, "doctor", "no column 'doctor' of groups (its columns: file_name, label"),
        (write_saved, "doctor", "has no column 'doctor'"),
        (write_table, "folder", "no groups can be validation images"),
    ],
)
def test_groups_that_are_not_there_are_one_line(write, groups, said, tmp_path):
    folder = write(tmp_path / "images")
    with pytest.raises(InputError) as caught:
        load_images(folder, groups=groups)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_groups_are_few_the_validation_images_come_first(tmp_path):
    for name in ("ill", "well"):
        for patient in range(2):
            folder = tmp_path / name / f"{name}{patient}"
            folder.mkdir(parents=True)
            for number in range(130):
                picture(10 * patient + (name == "ill"), number).save(folder / f"{number}.png")
    data = load_images(tmp_path, groups="folder")
    assert data.test_images is None
    assert any("none are held out: too few groups" in note for note in data.notes)
    assert torch.bincount(data.validation_labels).tolist() == [130, 130]


def test_groups_that_are_corrected_are_read_anew(tmp_path):
    folder, cache = write_table(tmp_path / "images"), tmp_path / "cache"
    before = load_images(folder, groups="patient", cache=cache)
    table = folder / "metadata.csv"
    lines = table.read_text().splitlines()
    paired = [re.sub(r"p(\d+)$", lambda m: f"p{int(m[1]) // 2}", line) for line in lines]
    table.write_text("\n".join(paired) + "\n")
    after = load_images(folder, groups="patient", cache=cache)
    assert after.fingerprint != before.fingerprint
    for part in patients(after):
        assert {patient ^ 1 for patient in part} == part


def test_images_beside_the_groups_are_refused(tmp_path):
    folder = write_folders(tmp_path / "images")
    picture(1, 1).save(folder / "ill" / "loose.png")
    with pytest.raises(InputError, match=r"loose\.png: in no folder within its class folder"):
        load_images(folder, groups="folder")


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("patients", [2, 3, 5])
def test_every_class_is_held_out_though_its_groups_are_large(classes, patients):
    labels = torch.arange(classes).repeat_interleave(100 * patients)
    groups = [f"p{index // 100}" for index in range(len(labels))]
    kept, held = grouped_split(labels, groups, fraction=0.1, limit=5_000, seed=0)
    assert torch.bincount(labels[held], minlength=classes).tolist() == [100] * classes
    assert torch.bincount(labels[kept]).tolist() == [100 * (patients - 1)] * classes


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=30, max_size=200),
    st.integers(0, 5),
)
def test_grouped_splits(rows, seed):
    labels = torch.tensor([label for label, _ in rows])
    rows = [(label, str(group)) for label, group in rows]
    groups = [group for _, group in rows]
    try:
        kept, held = grouped_split(labels, groups, fraction=0.2, limit=10**6, seed=seed)
    except ValueError:
        pairs = set(rows)
        assert all(
            any({g for c, g in pairs if c == label} == {group} for label, _ in pairs)
            for _, group in pairs
        )
        return
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(rows)))
    assert not {groups[i] for i in kept.tolist()} & {groups[i] for i in held.tolist()}
    assert set(labels[kept].tolist()) == set(labels.tolist())
    assert len(held) > 0
