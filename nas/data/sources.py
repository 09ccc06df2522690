"""Where images come from: folders, parquet files, saved data sets, the Hugging Face hub.

Whatever the source, what comes out are splits of the `datasets` library with an image column and a
label column. `datasets` is imported late: it takes a second.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.data.folders import image_folder, images_under
from nas.data.source import (
    ACCEPTED,
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    SPLITS,
    Source,
    splits_by_name,
)
from nas.errors import InputError, one_line
from nas.files import file_size, why

HUB_TIMEOUT_S = 5.0

Names = tuple[str, ...] | None

MAX_PARQUET_BYTES = 1024**4
PACKED = 64  # times that a parquet file may unpack to; encoded images cannot be packed much


def find_source(name: str | Path, groups: str | None = None) -> Source:
    """The source that the user named: a path if there is one, else a data set of the hub.

    `groups` is the column that says which images belong together, or `folder`.

    Raises InputError when there is neither, or no image or label column in it.
    """
    path = Path(os.path.expanduser(name))
    try:
        return _local(path, name, groups) or _hub(str(name), groups)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read: {why(error)}") from None


def _local(path: Path, name: str | Path, groups: str | None) -> Source | None:
    """The source at a path; None where there is none, and the hub may have it by that name."""
    if os.path.isfile(path):
        if path.suffix != ".parquet":
            raise InputError(f"{name}: not a folder or a .parquet file; {ACCEPTED}")
        return _parquet(path, [path], groups)
    if os.path.isdir(path):
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            return _saved(path, groups)
        parquet = sorted(p for p in path.rglob("*.parquet") if not _hidden(p, path))
        return _parquet(path, parquet, groups) if parquet else image_folder(path, groups)
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
    return any(part.startswith((".", "__")) for part in path.relative_to(root).parts)


# Parquet and the hub ------------------------------------------------------------------------------


def _parquet(path: Path, files: list[Path], groups: str | None) -> Source:
    """Parquet files in the layout of the hub; splits by the names of files and folders."""
    import datasets
    import pyarrow.parquet

    rows = 0
    for file in files:
        size = file_size(file, MAX_PARQUET_BYTES)
        try:
            about = pyarrow.parquet.read_metadata(file)
            blocks = [about.row_group(index) for index in range(about.num_row_groups)]
        except Exception as error:  # whatever its reader trips over: the bytes may be anything
            raise InputError(
                f"{file}: not a parquet file that can be read: {_line(error)}"
            ) from None
        if sum(max(0, block.total_byte_size) for block in blocks) > PACKED * max(size, 1 << 20):
            raise InputError(f"{file}: unpacks to more than {PACKED} times its size, refused")
        rows += about.num_rows
    try:
        if path.is_file():
            builder = datasets.load_dataset_builder("parquet", data_files={"train": str(path)})
        else:
            builder = datasets.load_dataset_builder(str(path))
        # Streaming reads the files where they are; otherwise a copy would go to a cache first.
        found = builder.as_streaming_dataset()
    except Exception as error:  # the library raises many kinds
        raise InputError(f"{path}: cannot be read as a data set: {_line(error)}") from None
    by_split = {
        str(split): [Path(str(file)) for file in of]
        for split, of in builder.config.data_files.items()
    }
    notes = []
    if path.is_dir():
        used = {os.path.realpath(file) for of in by_split.values() for file in of}
        unused = [file for file in files if os.path.realpath(file) not in used]
        if unused:
            notes.append(_left_out(unused, path, "parquet file", "whose name is of no split"))
        beside = images_under(path)
        if beside:
            notes.append(_left_out(beside, path, "image", "beside the parquet files"))
    name = path.resolve().stem if path.is_file() else path.resolve().name

    def names(split: str, column: str) -> Names:
        return _names_in(by_split[split], column)

    return _from_splits(name, str(path), found, rows, tuple(files), groups, names, notes)


def _left_out(paths: list[Path], root: Path, what: str, why_not: str) -> str:
    return (
        f"left out {len(paths):,} {what}{'s' * (len(paths) > 1)} {why_not} "
        f"(for example {paths[0].relative_to(root)})"
    )


def _names_in(files: list[Path], column: str) -> Names:
    """Return the names of the classes that files of one split give their label numbers.

    Each file has names of its own, of which the library takes those of the first file for all.
    """
    import datasets
    import pyarrow.parquet

    first: tuple[Path, tuple[str, ...]] | None = None
    for file in files:
        features = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(file))
        names = _class_names(features.get(column))
        if names is None:
            continue
        if first is not None and first[1] != names:
            raise InputError(
                f"{file}: column {column!r} has the classes {', '.join(names)}, in {first[0]} it "
                f"has {', '.join(first[1])}: files of one split must number them alike"
            )
        first = file, names
    return None if first is None else first[1]


def _class_names(kind: Any) -> Names:
    return tuple(kind.names) if type(kind).__name__ == "ClassLabel" else None


def _saved(path: Path, groups: str | None) -> Source:
    """A data set, or several splits of one, that ``save_to_disk`` of the library has written."""
    import datasets

    try:
        found: Any = datasets.load_from_disk(str(path))
    except Exception as error:  # the library raises many kinds
        raise InputError(f"{path}: cannot be read as a saved data set: {_line(error)}") from None
    if isinstance(found, datasets.Dataset):
        found = {"train": found}
    rows = sum(split.num_rows for split in found.values())
    files = tuple(sorted(p for p in path.rglob("*.arrow") if not _hidden(p, path)))
    return _from_splits(path.resolve().name, str(path), found, rows, files, groups)


def _hub(name: str, groups: str | None) -> Source:
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
    return _from_splits(name, name, found, rows, tuple(sorted(map(Path, files))), groups)


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
    groups: str | None,
    names_of: Callable[[str, str], Names] | None = None,
    notes: Iterable[str] = (),
) -> Source:
    """Name the splits, find the columns.

    Args:
        name: of the data set.
        where: as the user named it.
        found: the splits by their own names.
        rows: of all splits.
        files: from which they are read.
        groups: column that says which images belong together; None: that was not asked for.
        names_of: returns the classes of a split (by its own name) and column; None: what the
            split's features say.
        notes: what was left out.
    """
    notes = list(notes)
    named = splits_by_name(map(str, found))
    own: dict[str, Any] = {}  # a split's own name
    for candidate in found:
        split = named.get(str(candidate))
        if split in SPLITS:
            own.setdefault(split, candidate)
    if "train" not in own and len(found) == 1:
        (only,) = found
        own = {"train": only}
        notes.append(f"the only split, {only!r}, is taken for training images")
    splits = {split: found[own[split]] for split in SPLITS if split in own}
    if "train" not in splits:
        listed = ", ".join(map(repr, found)) or "none"
        raise InputError(f"{where}: no split named 'train' (its splits: {listed})")
    left_out = [s for s in found if not any(found[s] is used for used in splits.values())]
    if left_out:
        notes.append(f"left out other splits: {', '.join(map(str, left_out))}")

    features = _features(splits["train"], where)
    image = _image_column(features, where)
    label = _label_column(features, where)
    used_columns = [image, label, *([] if groups is None else [groups])]
    for split, rows_of_split in splits.items():
        columns = _features(rows_of_split, where)
        for column in used_columns:
            if column not in columns:
                raise InputError(f"{where}: split {split!r} has no column {column!r}")
    names: dict[str, Names] = {}
    for split, rows_of_split in splits.items():
        if names_of is None:
            names[split] = _class_names(_features(rows_of_split, where)[label])
        else:
            names[split] = names_of(str(own[split]), label)
    classes = names["train"]
    for split, theirs in names.items():
        if (classes is None) != (theirs is None):
            notes.append(
                f"the labels of the {split} split and of the training split have names in one of "
                "them only: they are taken to be numbered alike"
            )
    return Source(
        name=name,
        splits={s: rows_of.select_columns(used_columns) for s, rows_of in splits.items()},
        image_column=image,
        label_column=label,
        classes=classes,
        rows=rows,
        files=dict.fromkeys(files, ""),
        notes=tuple(notes),
        names={split: n for split, n in names.items() if n is not None and n != classes},
        group_column=groups,
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
        return dtype.startswith(("int", "uint", "float", "bool", "string", "large_string"))

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
