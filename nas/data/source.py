"""A source of images: its splits and classes, and the names by which splits are known."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    import datasets

ACCEPTED = (
    "accepted: fractals, a folder of class folders, a folder with parquet files, a parquet file, "
    "or a data set of the Hugging Face hub"
)

Label = int | str | float | bool | None
"""As a row has it; None: it is missing."""

SPLITS = ("train", "validation", "test")
UNLABELLED = "unlabelled"
"""Stands for folders of images without labels, which are no split that can be used."""

_WORDS = {
    "train": ("train", "training", "trainset", "trainingset", "traindata"),
    "validation": ("validation", "valid", "val", "dev", "validate", "valset", "validationset"),
    "test": ("test", "testing", "testset", "testingset", "testdata"),
    UNLABELLED: ("pred", "predict", "prediction", "unlabelled", "unlabeled", "unsup", "submission"),
}
_SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words}
# Words beside the name of a split that do not make it the name of a class.
_FILLERS = frozenset(
    [
        "set",
        "data",
        "dataset",
        "images",
        "image",
        "imgs",
        "img",
        "pictures",
        "photos",
        "split",
        "folder",
        "files",
        "jpg",
        "jpeg",
        "png",
        "raw",
        "resized",
        "cropped",
    ]
)

BY_FOLDER = "folder"
"""Groups of images in a folder: their own folders."""

_NOT_TEXT = "\0"  # no path has it

LABEL_COLUMNS = ("label", "labels", "fine_label", "target", "class")
IMAGE_COLUMNS = ("image", "img", "images")


@dataclass(frozen=True)
class Source:
    """Where labelled images are, before they are read.

    Attributes:
        name: of the data set.
        splits: rows by ``train``, ``validation`` and ``test``.
        image_column: of the rows.
        label_column: of the rows.
        classes: None: to be found in the labels of the training rows.
        rows: of all splits; None: not known beforehand.
        files: what it is read from, each with what its place decides (split and class).
        notes: what the user must know, what was left out included.
        names: classes of the splits whose label numbers count in another order than ``classes``.
        group_column: of the rows, where images are in groups that a split keeps together.
    """

    name: str
    splits: Mapping[str, datasets.Dataset | datasets.IterableDataset]
    image_column: str
    label_column: str
    classes: tuple[str, ...] | None
    rows: int | None
    files: Mapping[Path, str]
    notes: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group_column: str | None = None


def row_name(source: Source, split: str, row: int) -> str:
    """Return how a message names a row of a source, counted from 0."""
    return f"{source.name}, split {split!r}, row {row} (from 0)"


def splits_by_name(names: Iterable[str]) -> dict[str, str]:
    """Return the split that each name stands for; names that stand for none are left out.

    A name stands for a split where it consists of a split's name and words such as ``images``
    (``training_set``, ``train2017``), or where other names differ from it in the split alone
    (``seg_train`` beside ``seg_test``).
    """
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in names:
        words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
        splits = {_SPLIT_OF_WORD[word] for word in words if word in _SPLIT_OF_WORD}
        rest = tuple(w for w in words if w not in _SPLIT_OF_WORD and w not in _FILLERS)
        if len(splits) == 1:
            found[name] = splits.pop(), rest
    return {
        name: split
        for name, (split, rest) in found.items()
        if not rest or any(s != split and r == rest for s, r in found.values())
    }


def stored_path(path: Path) -> str:
    """Return a path as a row holds it: as it is, or marked and in ASCII where it is no text."""
    text = os.fspath(path)
    return text if is_text(text) else _NOT_TEXT + quote_from_bytes(os.fsencode(path))


def path_stored(text: str) -> Path:
    """Return the path that a row holds."""
    if text.startswith(_NOT_TEXT):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_NOT_TEXT))))
    return Path(text)


def is_text(name: str) -> bool:
    """Return whether a name of a file is valid text."""
    return name.encode("utf-8", "replace").decode() == name


def is_filler(name: str) -> bool:
    """Return whether a folder's name says no more than that there are images in it."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    return bool(words) and all(word in _FILLERS for word in words)
