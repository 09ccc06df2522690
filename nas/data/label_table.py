"""Tables of labels beside images: ``metadata.csv`` and ``metadata.jsonl``, as the hub has them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.data.source import BY_FOLDER, LABEL_COLUMNS, SPLITS, splits_by_name
from nas.errors import InputError
from nas.files import parse_json, read_text

NAMES = ("metadata.csv", "metadata.jsonl")
FILE_COLUMN = "file_name"
MAX_TABLE_BYTES = 1024**3


@dataclass(frozen=True)
class LabelledFile:
    """A row of a table of labels.

    Attributes:
        split: of the image.
        path: its file.
        label: its class.
        group: what it belongs to; None: that was not asked for.
    """

    split: str
    path: Path
    label: str
    group: str | None


@dataclass(frozen=True)
class LabelTable:
    """Labels of images by their files."""

    path: Path
    rows: tuple[LabelledFile, ...]


def find_label_tables(
    root: Path, split_folders: Mapping[Path, str], groups: str | None = None
) -> list[LabelTable]:
    """Return the tables of labels in a folder, or in its folders of splits; often none.

    A table in a split's folder labels that split. One in ``root`` labels the split that the first
    folder in ``file_name`` names, or else the training images. Tables without a column of labels
    (captions, boxes) are left alone. ``groups`` names the column of groups, or ``folder``.

    Raises:
        InputError: a table cannot be read, or names a file that is not there or outside of it.
    """
    tables = []
    for folder in (root, *split_folders):
        for name in NAMES:
            if not (folder / name).is_file():
                continue
            table = _read(folder / name, split_folders.get(folder), groups)
            if table is not None:
                tables.append(table)
    seen: dict[Path, Path] = {}
    for table in tables:
        for row in table.rows:
            if row.path in seen:
                raise InputError(
                    f"{table.path}: {row.path} has two labels, the other in {seen[row.path]}"
                )
            seen[row.path] = table.path
    return tables


def _read(path: Path, split: str | None, groups: str | None) -> LabelTable | None:
    records = list(_records(path))
    if not records:
        return None
    columns = records[0]
    label = next((name for name in LABEL_COLUMNS if name in columns), None)
    if label is None or FILE_COLUMN not in columns:
        return None
    if groups not in (None, BY_FOLDER, *columns):
        raise InputError(
            f"{path}: no column {groups!r} of groups (its columns: {', '.join(columns)}; or "
            f"{BY_FOLDER})"
        )
    files: list[tuple[str, Path, str, str | None]] = []
    for line, record in enumerate(records, 1):
        name, value = record.get(FILE_COLUMN), record.get(label)
        where = f"{path}: row {line}"
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: {FILE_COLUMN} is missing")
        if value is None or value == "" or isinstance(value, list | dict):
            raise InputError(f"{where}: {label} is missing, or no single value")
        relative = os.path.normpath(name)
        if os.path.isabs(relative) or relative.startswith(".."):
            raise InputError(f"{where}: {name}: outside the folder of the table, refused")
        file = path.parent / relative
        if not file.is_file():
            raise InputError(f"{where}: {file}: no such file")
        files.append((relative, file, str(value), _group(record, relative, groups, where)))
    named = splits_by_name({name.split(os.sep)[0] for name, *_ in files if os.sep in name})
    rows = []
    for relative, file, value, group in files:
        found = split or named.get(relative.split(os.sep)[0], "train")
        if found in SPLITS:
            rows.append(LabelledFile(found, file, value, group))
    return LabelTable(path, tuple(rows))


def _group(record: Mapping[str, Any], name: str, groups: str | None, where: str) -> str | None:
    """Return the group of a row: of its column, or the folder of its file but for a split's."""
    if groups is None:
        return None
    if groups == BY_FOLDER and BY_FOLDER not in record:
        folders = Path(name).parts[:-1]
        named = splits_by_name(folders[:1])
        return os.sep.join(folders[len(named) :]) or os.curdir
    value = record.get(groups)
    if value is None or value == "" or isinstance(value, list | dict):
        raise InputError(f"{where}: {groups} is missing, or no single value")
    return str(value)


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    text = read_text(path, MAX_TABLE_BYTES)
    if path.suffix == ".csv":
        try:
            yield from csv.DictReader(io.StringIO(text, newline=""))
        except csv.Error as error:
            raise InputError(f"{path}: not CSV that can be read: {error}") from None
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            record = parse_json(line, f"{path}, line {number}")
            if not isinstance(record, dict):
                raise InputError(f"{path}, line {number}: not an object")
            yield record
