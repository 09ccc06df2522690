"""Images in class folders, with or without folders of splits around them.

Not by ``load_dataset("imagefolder")``: that takes any folder with "test" or "dev" in its name for a
split, leaves out files silently, and does not notice empty classes.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nas.data.decode import MAX_BYTES, image_endings
from nas.data.label_table import LabelTable, find_label_tables
from nas.data.source import (
    ACCEPTED,
    BY_FOLDER,
    SPLITS,
    UNLABELLED,
    Source,
    is_filler,
    is_text,
    splits_by_name,
    stored_path,
)
from nas.errors import InputError, visible
from nas.files import file_size

LAYOUT = "expected are CLASS/IMAGE, or train/CLASS/IMAGE and likewise validation/ and test/"
_SHOWN = 3  # names in a message
_PART = re.compile(r"(?:fold|part|split|batch|set|subset|chunk|group)[ _-]?\d+", re.IGNORECASE)


def image_folder(root: Path, groups: str | None = None) -> Source:
    """Return the images of a folder of class folders, of split folders, or with a label table.

    Args:
        root: the folder.
        groups: column of a label table, or ``folder``: which images belong together.

    Raises:
        InputError: the folder has none of these layouts, or a class has no images.
    """
    reader = _Reader(root)
    named = {f: reader.named[f.name] for f in reader.folders if f.name in reader.named}
    tables = find_label_tables(root, named, groups)
    if tables:
        return _of_tables(root, tables, reader, groups is not None)
    if groups not in (None, BY_FOLDER):
        raise InputError(
            f"{root}: no table of labels with a column {groups!r}; accepted as groups: {BY_FOLDER}"
        )
    parts = reader.parts()
    rows: dict[str, list[tuple[Path, str]]] = {}
    for split in SPLITS:
        if split in parts:
            found = list(reader.images_of(split, parts[split], rows.get("train", ())))
            if found:
                rows[split] = found
    notes = reader.left_out.notes()
    if reader.nested:
        name, folders = next(iter(reader.nested.items()))
        notes.append(
            f"the images of {len(reader.nested)} of the classes are in folders within the class "
            f"folder ({name!r}: {folders} folders) and taken together"
        )
    if groups is None:
        return _source(root, rows, notes)
    return _source(root, rows, notes, _groups_by_folder(root, rows, parts))


def _groups_by_folder(
    root: Path, rows: Mapping[str, list[tuple[Path, str]]], parts: Mapping[str, Path]
) -> dict[Path, str]:
    """Return in which folder of its class folder each image is; the same one in several classes."""
    found: dict[Path, str] = {}
    for split, images in rows.items():
        for path, _ in images:
            inside = path.relative_to(parts[split]).parts[1:-1][:1]
            if not inside:
                raise InputError(
                    f"{path}: in no folder within its class folder; accepted with groups "
                    f"{BY_FOLDER}: CLASS/GROUP/IMAGE in {root}"
                )
            found[path] = inside[0]
    return found


def images_under(folder: Path) -> list[Path]:
    """Return the images in a folder at any depth, links followed, hidden ones left out.

    In the order in which people count: ``2.png`` before ``10.png``.
    """
    return sorted((path for path in _walk(folder, None) if _is_image(path)), key=_as_counted)


def _as_counted(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", str(path).casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _of_tables(root: Path, tables: list[LabelTable], reader: _Reader, grouped: bool) -> Source:
    rows: dict[str, list[tuple[Path, str]]] = {}
    groups: dict[Path, str] = {}
    for table in tables:
        for row in table.rows:
            rows.setdefault(row.split, []).append((row.path, row.label))
            if row.group is not None:
                groups[row.path] = row.group
    listed = {path for found in rows.values() for path, _ in found}
    for path in _walk(root, reader.left_out):
        if path not in listed and _is_image(path):
            reader.left_out.add("not listed in the table of labels", path)
    notes = [f"labels are read from {table.path.relative_to(root)}" for table in tables]
    if "train" not in rows:
        raise InputError(f"{tables[0].path}: no training images; its splits: {', '.join(rows)}")
    return _source(root, rows, [*notes, *reader.left_out.notes()], groups if grouped else None)


def _source(
    root: Path,
    rows: Mapping[str, list[tuple[Path, str]]],
    notes: list[str],
    groups: Mapping[Path, str] | None = None,
) -> Source:
    import datasets

    classes = tuple(sorted({label for _, label in rows["train"]}))
    for label in classes:
        if not is_text(label):
            raise InputError(f"{root}: the class {visible(label)!r} is not accepted: not UTF-8")
    numbers = {label: number for number, label in enumerate(classes)}
    for split, found in rows.items():
        unknown = next(((path, label) for path, label in found if label not in numbers), None)
        if unknown is not None:
            path, label = unknown
            close = [c for c in classes if c.casefold() == label.casefold()]
            hint = f"; is {close[0]!r} meant?" if close else ""
            raise InputError(
                f"{path}: a class that the training images do not have: {label!r} (split "
                f"{split!r}){hint}"
            )
    features = {
        "image": datasets.Image(decode=False),
        "label": datasets.ClassLabel(names=list(classes)),
        **({} if groups is None else {"group": datasets.Value("string")}),
    }
    return Source(
        name=root.resolve().name,
        splits={
            split: datasets.Dataset.from_dict(
                {
                    "image": [stored_path(path) for path, _ in found],
                    "label": [numbers[label] for _, label in found],
                    **({} if groups is None else {"group": [groups[path] for path, _ in found]}),
                },
                features=datasets.Features(features),
            )
            for split, found in rows.items()
        },
        image_column="image",
        label_column="label",
        classes=classes,
        rows=sum(map(len, rows.values())),
        files={
            path: "/".join((split, label, *(() if groups is None else (groups[path],))))
            for split in rows
            for path, label in rows[split]
        },
        notes=tuple(notes),
        group_column=None if groups is None else "group",
    )


@dataclass
class LeftOut:
    """What is not read: counted by reason, each with the first example."""

    root: Path
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Path] = field(default_factory=dict)

    def add(self, reason: str, path: Path) -> None:
        """Count a file that is left out for a reason."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, path)

    def notes(self) -> list[str]:
        """Return a line for each reason."""
        return [
            f"left out {count:,} file{'s' * (count > 1)} {reason} "
            f"(for example {visible(str(self.examples[reason].relative_to(self.root)))})"
            for reason, count in self.counts.items()
        ]


class _Reader:
    """Finds the splits and classes of a folder.

    Attributes:
        folders: in it, without hidden ones.
        named: split by the name of the folder, where that is the name of one.
        left_out: what is not read.
        nested: classes whose images are all in folders within the class folder, and how many.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out = LeftOut(root)
        self.nested: dict[str, int] = {}
        self.folders = _subfolders(root)
        self.named = splits_by_name(folder.name for folder in self.folders)

    def parts(self) -> dict[str, Path]:
        """Return the folder of each split; of ``train`` alone where there are no splits.

        Raises:
            InputError: there are no class folders, or it cannot be told which folders are these.
        """
        if not self.folders:
            raise self._no_folders(self.root)
        if len(self.folders) == 1 and not self.named and not _has_images(self.root):
            self._check_only_folder(self.folders[0])
        by_split: dict[str, Path] = {}
        for folder in self.folders:
            split = self.named.get(folder.name)
            if split in by_split and split != UNLABELLED:
                raise InputError(
                    f"{self.root}: {by_split[split].name!r} and {folder.name!r} are both names of "
                    f"the {split} split; {LAYOUT}"
                )
            if split is not None:
                by_split[split] = folder
        roots = {split: _class_root(folder, split) for split, folder in by_split.items()}
        if "train" in roots and _subfolders(roots["train"]):
            self._beside_splits()
            return {split: path for split, path in roots.items() if split in SPLITS}
        self._check_no_splits(by_split)
        return {"train": self.root}

    def _check_only_folder(self, folder: Path) -> None:
        """Refuse a folder whose only folder is probably the one that was meant."""
        inside = _subfolders(folder)
        while len(inside) == 1 and not _has_images(folder):
            folder = inside[0]
            inside = _subfolders(folder)
        if len(inside) > 1:
            raise InputError(
                f"{self.root}: holds {folder.relative_to(self.root)} alone, with the folders "
                f"{_listed(f.name for f in inside)} in it: if these are the classes or splits, "
                f"give {folder}"
            )

    def _check_no_splits(self, by_split: Mapping[str, Path]) -> None:
        """Refuse class folders of which some have names of splits, `train` alone excepted."""
        names = [folder.name for folder in by_split.values()]
        only_train = set(by_split) == {"train"} and len(self.folders) > 1
        if by_split and not only_train:
            ordered = [by_split[split] for split in (*SPLITS, UNLABELLED) if split in by_split]
            flat = next((folder for folder in ordered if not _subfolders(folder)), None)
            found = "" if flat is None else f"; {flat.name!r} has no class folders in it"
            table = self._table_hint([self.root, *by_split.values()])
            raise InputError(
                f"{self.root}: {_listed(names)}: named like splits, so not taken for classes"
                f"{found}; {LAYOUT}{table}"
            )
        self._check_no_parts()
        for folder in self.folders:
            inside = splits_by_name(f.name for f in _subfolders(folder))
            if "train" in inside.values() and len(set(inside.values())) > 1:
                raise InputError(
                    f"{folder}: has splits in a class folder ({_listed(inside)}); {LAYOUT}"
                )

    def _check_no_parts(self) -> None:
        """Refuse folders such as ``fold1`` and ``fold2`` that have the same folders in them."""
        parts = [f for f in self.folders if _PART.fullmatch(f.name) and not _has_images(f)]
        inside = [{f.name for f in _subfolders(part)} for part in parts]
        if len(parts) > 1 and len(set.intersection(*inside)) > 1:
            raise InputError(
                f"{self.root}: {_listed(part.name for part in parts)} have the same folders in "
                f"them ({_listed(sorted(set.intersection(*inside)))}), so they are not taken for "
                f"classes; {LAYOUT}"
            )

    def _beside_splits(self) -> None:
        for folder in self.folders:
            split = self.named.get(folder.name)
            if split not in SPLITS:
                self._leave_out_folder(folder, f"in {folder.name!r}, which is not a split")
        self._loose(self.root, "the folders of splits")

    def _leave_out_folder(self, folder: Path, reason: str) -> None:
        for path in _walk(folder, None):
            self.left_out.add(reason, path)

    def _loose(self, folder: Path, beside: str) -> None:
        """Note the files beside folders that are read, and hidden folders with images."""
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = folder / entry.name
            if entry.is_dir():
                if _is_hidden(entry.name):
                    for image in filter(_is_image, _walk(path, None)):
                        self.left_out.add("in hidden folders", image)
            elif _is_image(path) and not _is_hidden(entry.name):
                self.left_out.add(f"beside {beside}", path)

    def images_of(
        self, split: str, folder: Path, known: Iterable[tuple[Path, str]]
    ) -> Iterator[tuple[Path, str]]:
        """Yield the images of a split with their classes.

        Args:
            split: of the images.
            folder: with the class folders.
            known: the training images, with their classes.
        """
        classes = {label for _, label in known}
        folders = _subfolders(folder)
        names = {unicodedata.normalize("NFC", f.name) for f in folders}
        without_classes = not folders or (
            not names & classes and all(is_filler(f.name) for f in folders)
        )
        if split != "train" and without_classes:
            self._leave_out_folder(folder, f"of the {split} split, which has no class folders")
            return
        self._loose(folder, "the class folders")
        for class_folder in folders:
            label = unicodedata.normalize("NFC", class_folder.name)
            images = self._images(class_folder)
            deeper = {i.relative_to(class_folder).parts[0] for i in images}
            if len(deeper) > 1 and not _has_images(class_folder):
                self.nested[label] = len(deeper)
            if not images and split == "train":
                raise InputError(
                    f"{class_folder}: no images of this class (accepted: "
                    f"{' '.join(sorted(image_endings()))})"
                )
            yield from ((image, label) for image in images)

    def _images(self, folder: Path) -> list[Path]:
        """Return all images in a class folder, at any depth."""
        images = []
        for path in _walk(folder, self.left_out):
            if _is_image(path):
                file_size(path, MAX_BYTES)
                images.append(path)
            else:
                self.left_out.add("without an image that can be read", path)
        return sorted(images)

    def _no_folders(self, folder: Path) -> InputError:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        if not files:
            return InputError(f"{folder}: an empty folder; {ACCEPTED}")
        images = sum(map(_is_image, files))
        if not images:
            return InputError(f"{folder}: no class folders in it; {ACCEPTED}")
        return InputError(
            f"{folder}: no class folders in it, but {images:,} image{'s' * (images > 1)} (for "
            f"example {next(filter(_is_image, files)).name}); {LAYOUT}{self._table_hint([folder])}"
        )

    @staticmethod
    def _table_hint(folders: Iterable[Path]) -> str:
        """Return how labels of a table can be read, where there is one; else nothing."""
        for folder in folders:
            for path in sorted(folder.glob("*.*")):
                if path.suffix.lower() in (".csv", ".tsv", ".jsonl"):
                    return (
                        f"; if {path} has the labels, save it as metadata.csv beside the images, "
                        "with the columns file_name and label"
                    )
        return ""


def _class_root(folder: Path, split: str) -> Path:
    """Return where the class folders of a split are: in it, or in a folder that says no more."""
    for _ in range(3):
        inside = _subfolders(folder)
        if len(inside) != 1 or _has_images(folder):
            break
        name = inside[0].name
        same = splits_by_name([name]).get(name) == split or name == folder.name
        if not same and not (is_filler(name) and _subfolders(inside[0])):
            break
        folder = inside[0]
    return folder


def _walk(folder: Path, left_out: LeftOut | None) -> Iterator[Path]:
    """Yield the files at any depth, links followed, hidden ones left out.

    Args:
        folder: to begin in.
        left_out: told of images that are hidden, and of folders that contain themselves.
    """
    above = {os.path.realpath(folder)}
    pending: list[tuple[Path, frozenset[str]]] = [(folder, frozenset(above))]
    while pending:
        parent, chain = pending.pop()
        for entry in sorted(os.scandir(parent), key=lambda entry: entry.name):
            path = parent / entry.name
            if _is_hidden(entry.name):
                if left_out is not None:
                    hidden = _walk(path, None) if entry.is_dir() else (path,)
                    for image in filter(_is_image, hidden):
                        left_out.add("with a hidden name", image)
            elif entry.is_dir():
                real = os.path.realpath(path)
                if real not in chain:
                    pending.append((path, chain | {real}))
                elif left_out is not None:
                    left_out.add("behind a link to a folder around it", path)
            else:
                yield path


def _is_hidden(name: str) -> bool:
    """Return whether a name is hidden, or one that systems and tools make (``__MACOSX``)."""
    return name.startswith((".", "__"))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in image_endings()


def _has_images(folder: Path) -> bool:
    return any(_is_image(path) and not _is_hidden(path.name) for path in folder.iterdir())


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(map(repr, every[:_SHOWN]))
    return shown if len(every) <= _SHOWN else f"{shown} and {len(every) - _SHOWN:,} more"
