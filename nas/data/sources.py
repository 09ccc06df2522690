"""Where images come from: a folder of class folders, parquet files, the Hugging Face hub.

Whatever the source, what comes out are splits of the `datasets` library with an image column and a
label column. `datasets` is imported late: it takes a second.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.data.decode import MAX_BYTES
from nas.errors import InputError, one_line
from nas.files import file_size, why

if TYPE_CHECKING:
    import datasets

ACCEPTED = (
    "accepted: fractals, a folder of class folders, a folder with parquet files, a parquet file, "
    "or a data set of the Hugging Face hub"
)

# Names of splits, as folders and in data sets.
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
IMAGE_ENDINGS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
LABEL_COLUMNS = ("label", "labels", "fine_label", "target", "class")
IMAGE_COLUMNS = ("image", "img", "images")

HUB_TIMEOUT_S = 5.0

MAX_PARQUET_BYTES = 1024**4
PACKED = 64  # times that a parquet file may unpack to; encoded images cannot be packed much


@dataclass(frozen=True)
class Source:
    """Splits by their names (`train`, `validation`, `test`), and where each row is."""

    name: str
    splits: Mapping[str, datasets.Dataset | datasets.IterableDataset]
    image_column: str
    label_column: str
    classes: tuple[str, ...] | None  # None: to be found in the labels
    rows: int | None  # of all splits, where known beforehand
    files: tuple[Path, ...]  # what it was read from, to tell whether it has changed
    notes: tuple[str, ...]


def find_source(name: str | Path) -> Source:
    """The source that the user named: a path if there is one, else a data set of the hub.

    Raises InputError when there is neither, or no image or label column in it.
    """
    path = Path(os.path.expanduser(name))
    try:
        return _local(path, name) or _hub(str(name))
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read: {why(error)}") from None


def _local(path: Path, name: str | Path) -> Source | None:
    """The source at a path; None where there is none, and the hub may have it by that name."""
    if os.path.isfile(path):
        if path.suffix != ".parquet":
            raise InputError(f"{name}: not a folder or a .parquet file; {ACCEPTED}")
        return _parquet(path, [path])
    if os.path.isdir(path):
        parquet = sorted(p for p in path.rglob("*.parquet") if not _hidden(p, path))
        return _parquet(path, parquet) if parquet else _image_folder(path)
    text = str(name)
    looks_like_path = (
        isinstance(name, Path)
        or path.suffix == ".parquet"
        or os.path.lexists(path)  # a pipe, a device
        or text != str(Path(text))  # ./x, x/
        or not re.fullmatch(r"[\w][\w.-]*(/[\w][\w.-]*)?", text, re.ASCII)
    )
    if looks_like_path:
        raise InputError(f"{text}: no such file or folder; {ACCEPTED}")
    return None


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


# Folders ------------------------------------------------------------------------------------------


def _image_folder(root: Path) -> Source:
    """Class folders, or train/ and perhaps validation/ and test/ with class folders in each.

    Not by `load_dataset("imagefolder")`: that takes any folder with "test" or "dev" in its name for
    a split, leaves out files silently, and does not notice empty classes.
    """
    import datasets

    notes: list[str] = []
    folders = _subfolders(root)
    if not folders and not any(root.iterdir()):
        raise InputError(f"{root}: an empty folder; {ACCEPTED}")
    parts = _split_folders(folders) or {"train": root}
    beside = [f for f in folders if parts["train"] != root and f not in parts.values()]
    if beside:
        notes.append(f"left out, not a split: {', '.join(f.name for f in beside)}")

    classes: tuple[str, ...] = ()
    files: list[Path] = []
    splits: dict[str, datasets.Dataset] = {}
    others = 0
    for split in ("train", "validation", "test"):
        if split not in parts:
            continue
        names = [folder.name for folder in _subfolders(parts[split])]
        if split == "train":
            if not names:
                raise InputError(f"{parts[split]}: no class folders in it; {ACCEPTED}")
            classes = tuple(names)
        unknown = sorted(set(names) - set(classes))
        if unknown:
            raise InputError(
                f"{parts[split] / unknown[0]}: a class that the training images do not have"
            )
        paths: list[str] = []
        labels: list[int] = []
        for folder_name in names:
            folder = parts[split] / folder_name
            images, rest = _image_files(folder)
            others += rest
            if not images and split == "train":
                endings = " ".join(sorted(IMAGE_ENDINGS))
                raise InputError(f"{folder}: no images of this class (accepted: {endings})")
            paths += [str(image) for image in images]
            labels += [classes.index(folder_name)] * len(images)
            files += images
        splits[split] = datasets.Dataset.from_dict(
            {"image": paths, "label": labels},
            features=datasets.Features(
                {
                    "image": datasets.Image(decode=False),
                    "label": datasets.ClassLabel(names=list(classes)),
                }
            ),
        )
    if others:
        notes.append(f"left out {others:,} file{'s' * (others > 1)} that are not images")
    return Source(
        name=root.resolve().name,
        splits=splits,
        image_column="image",
        label_column="label",
        classes=classes,
        rows=len(files),
        files=tuple(files),
        notes=tuple(notes),
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] not in "._")


def _split_folders(folders: list[Path]) -> dict[str, Path]:
    """The folders that are splits; none when `train` is a class (it has images, not folders)."""
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        for folder in folders:
            if folder.name.lower() in names and split not in found:
                found[split] = folder
    train = found.get("train")
    if train is None or not _subfolders(train):
        return {}
    return found


def _image_files(folder: Path) -> tuple[list[Path], int]:
    """All images in a class folder, at any depth, and the number of other files."""
    images: list[Path] = []
    others = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            if Path(name).suffix.lower() in IMAGE_ENDINGS:
                images.append(Path(parent, name))
                file_size(images[-1], MAX_BYTES)
            else:
                others += 1
    return sorted(images), others


# Parquet and the hub ------------------------------------------------------------------------------


def _parquet(path: Path, files: list[Path]) -> Source:
    """Parquet files in the layout of the hub; splits by the names of files and folders."""
    import datasets
    import pyarrow.parquet

    rows = 0
    for file in files:
        size = file_size(file, MAX_PARQUET_BYTES)
        try:
            about = pyarrow.parquet.read_metadata(file)
            groups = [about.row_group(index) for index in range(about.num_row_groups)]
        except Exception as error:  # whatever its reader trips over: the bytes may be anything
            raise InputError(
                f"{file}: not a parquet file that can be read: {_line(error)}"
            ) from None
        if sum(max(0, group.total_byte_size) for group in groups) > PACKED * max(size, 1 << 20):
            raise InputError(f"{file}: unpacks to more than {PACKED} times its size, refused")
        rows += about.num_rows
    try:
        # Streaming reads the files where they are; otherwise a copy would go to a cache first.
        if path.is_file():
            found = datasets.load_dataset(
                "parquet", data_files={"train": str(path)}, streaming=True
            )
        else:
            found = datasets.load_dataset(str(path), streaming=True)
    except Exception as error:  # the library raises many kinds
        raise InputError(f"{path}: cannot be read as a data set: {_line(error)}") from None
    name = path.resolve().stem if path.is_file() else path.resolve().name
    return _from_splits(name, str(path), found, rows, tuple(files))


def _hub(name: str) -> Source:
    """A data set of the hub by its name, from its local cache where the hub cannot be reached."""
    import datasets
    import huggingface_hub
    from huggingface_hub import errors

    reachable = True
    reason = "the hub cannot be reached and the data set was not downloaded earlier"
    try:
        # One quick question first: offline, load_dataset itself would go on trying for long.
        huggingface_hub.HfApi().dataset_info(name, timeout=HUB_TIMEOUT_S)
    except errors.OfflineModeIsEnabled:
        reachable = False
        reason = "the hub is switched off (HF_HUB_OFFLINE) and the data set not in its cache"
    except errors.GatedRepoError:
        raise _not_found(name, "access to it must be granted on the hub first") from None
    except errors.RepositoryNotFoundError:
        raise _not_found(name, "the hub has no such data set, or it is private") from None
    except errors.HFValidationError as error:
        raise _not_found(name, _line(error)) from None
    except Exception as error:  # the network's kinds differ between versions of the library
        reachable = False
        reason += f" ({_line(error)})"
    try:
        with _quiet_hub(offline=not reachable):
            found = datasets.load_dataset(name)
    except Exception as error:
        raise _not_found(name, _line(error) if reachable else reason) from None
    rows = sum(split.num_rows for split in found.values())
    files = {file["filename"] for split in found.values() for file in split.cache_files}
    return _from_splits(name, name, found, rows, tuple(sorted(map(Path, files))))


def _not_found(name: str, reason: str) -> InputError:
    return InputError(
        f"{name}: no such file or folder here, and as a data set of the Hugging Face hub: "
        f"{reason}; {ACCEPTED}"
    )


@contextmanager
def quiet_readers() -> Iterator[None]:
    """Nothing logged of files that cannot be read: the error that is raised says it, once."""
    logger = logging.getLogger("datasets")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _quiet_hub(*, offline: bool) -> Iterator[None]:
    """No progress bars, no warnings about retries; `offline` asks the local cache only."""
    import datasets
    from huggingface_hub import constants

    # By name, since the package does not declare what it exports there.
    hub: Any = importlib.import_module("huggingface_hub.utils")
    bars = hub.are_progress_bars_disabled()
    dataset_bars = datasets.are_progress_bars_disabled()
    loggers = {logging.getLogger(n): logging.getLogger(n).level for n in _LOGGERS}
    before = (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
    hub.disable_progress_bars()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    if offline:
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
        for logger, level in loggers.items():
            logger.setLevel(level)
        if not bars:
            hub.enable_progress_bars()
        if not dataset_bars:
            datasets.enable_progress_bars()


_LOGGERS = ("datasets", "huggingface_hub")


def _from_splits(
    name: str,
    where: str,
    found: Mapping[Any, Any],
    rows: int | None,
    files: tuple[Path, ...],
) -> Source:
    """Name the splits, find the columns."""
    notes: list[str] = []
    splits: dict[str, Any] = {}
    for split, names in SPLITS.items():
        for candidate in found:
            if str(candidate).lower() in names and split not in splits:
                splits[split] = found[candidate]
    if "train" not in splits and len(found) == 1:
        (only,) = found
        splits = {"train": found[only]}
        notes.append(f"the only split, {only!r}, is used for training and validation")
    if "train" not in splits:
        listed = ", ".join(map(repr, found)) or "none"
        raise InputError(f"{where}: no split named 'train' (its splits: {listed})")
    left_out = [s for s in found if not any(found[s] is used for used in splits.values())]
    if left_out:
        notes.append(f"left out other splits: {', '.join(map(str, left_out))}")

    features = _features(splits["train"], where)
    image = _image_column(features, where)
    label = _label_column(features, where)
    for split, rows_of_split in splits.items():
        columns = _features(rows_of_split, where)
        for column in (image, label):
            if column not in columns:
                raise InputError(f"{where}: split {split!r} has no column {column!r}")
    kind = features[label]
    classes = tuple(kind.names) if type(kind).__name__ == "ClassLabel" else None
    return Source(
        name=name,
        splits={s: rows_of.select_columns([image, label]) for s, rows_of in splits.items()},
        image_column=image,
        label_column=label,
        classes=classes,
        rows=rows,
        files=files,
        notes=tuple(notes),
    )


def _features(split: Any, where: str) -> Mapping[str, Any]:
    import datasets

    features: Mapping[str, Any]
    if split.features is not None:
        features = split.features
        return features
    for batch in split.with_format("arrow").iter(batch_size=1):
        features = datasets.Features.from_arrow_schema(batch.schema)
        return features
    raise InputError(f"{where}: contains no rows")


def _image_column(features: Mapping[str, Any], where: str) -> str:
    images = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    if not images:  # written without the library: what it would have stored
        images = [
            name
            for name, kind in features.items()
            if (isinstance(kind, dict) and set(kind) == {"bytes", "path"})
            or (getattr(kind, "dtype", None) in ("binary", "large_binary"))
        ]
    named = [name for name in IMAGE_COLUMNS if name in images]
    if len(images) == 1 or named:
        return named[0] if named else images[0]
    raise InputError(
        f"{where}: {'several image columns' if images else 'no image column'} "
        f"(its columns: {', '.join(features)}; accepted: one of images, or one named "
        f"{', '.join(IMAGE_COLUMNS)})"
    )


def _label_column(features: Mapping[str, Any], where: str) -> str:
    def usable(kind: Any) -> bool:
        dtype = str(getattr(kind, "dtype", ""))
        return dtype.startswith(("int", "uint")) or dtype in ("string", "large_string")

    for name in LABEL_COLUMNS:
        if name in features and usable(features[name]):
            return name
    labels = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    if len(labels) == 1:
        return labels[0]
    raise InputError(
        f"{where}: no label column (its columns: {', '.join(features)}; accepted: a column of "
        f"classes, integers or text named {', '.join(LABEL_COLUMNS)})"
    )


def _line(error: BaseException) -> str:
    return one_line(error)[:200] or type(error).__name__
