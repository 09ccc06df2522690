"""From a name or a path to images in memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from nas.data.cache import cache_key, read_cache, write_cache
from nas.data.decode import (
    FITS,
    SMALLEST,
    Decoded,
    DeepPixelsError,
    DepthKind,
    Fit,
    OtherSizeError,
    PixelRange,
    Tally,
    bombs_are_errors,
    decode,
    grey_values,
    opened_image,
    pixel_range,
)
from nas.data.fractals import fractals
from nas.data.images import ImageData, Part, stratified_split
from nas.data.source import Source, path_stored
from nas.data.sources import find_source, quiet_readers
from nas.environment import available_cores, memory
from nas.errors import InputError, one_line, visible

logger = logging.getLogger(__name__)

# Where images differ in size and nothing else is asked for: enough for a proxy, and an eighth of
# the work of 256 px.
DEFAULT_RESOLUTION = 128
BUILT_IN = "fractals"

BUILT_IN_AUGMENTATION = ("shift",)
"""A mirrored fractal is one of another class."""

BATCH = 512  # rows read at once
# Below this an image is decoded faster than threads take turns (measured: 32 px, 1 kB).
THREADS_FROM_BYTES = 4096

Progress = Callable[[int, int], None]
Label = int | str | float | bool | None

NAMED = 10  # broken images that an error names

MAX_PIXELS = (1 << 10, 1 << 31)
"""Least and most of the largest image that may be read, in pixels."""


@dataclass(frozen=True)
class Preparation:
    """How images are made ready.

    Attributes:
        resolution: pixels a side; None: as they are, where all are squares of one size.
        most: with it, images that differ in size, or are larger, are resized to so many pixels.
        channels: 3 (RGB) or 1 (grey).
        fit: how an image that is not square becomes one.
        max_pixels: larger images are refused; None: Pillow's limit.
    """

    resolution: int | None = None
    most: int | None = None
    channels: int = 3
    fit: Fit = "crop"
    max_pixels: int | None = None


def load_images(
    name: str | Path,
    *,
    resolution: int | None = None,
    most: int | None = None,
    channels: int = 3,
    fit: str = "crop",
    max_pixels: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ImageData:
    """Load a data set into memory as uint8 tensors.

    `name` is `"fractals"` (the built-in set), a folder of class folders (or of train/, validation/
    and test/ with class folders in each, or with a `metadata.csv` or `metadata.jsonl` of
    `file_name` and `label`), a folder with parquet files in the layout of the Hugging Face hub, a
    parquet file, a folder written by `save_to_disk` of the `datasets` library, or a data set of the
    hub. Where the source has no validation split, one is taken from the training images by `seed`
    (`stratified_split`); the parts of the built-in set are fixed. Images of one square size stay as
    they are unless a `resolution`, in pixels, is given; otherwise they are resized to it (to 128),
    and made square as `fit` says: `crop` takes the centre, `pad` adds black, `squeeze` distorts.
    With `most`, images that differ in size, or are larger, are resized to so many pixels.
    `channels` is 3 (RGB) or 1 (grey). Images of more than `max_pixels` (Pillow's limit) are
    refused. With a folder `cache`, decoded images are kept there. `progress(done, total)` is called
    in images. No code of a data set is ever run.

    Raises InputError (one line) when there is no such data, or it has no usable images, labels or
    classes.
    """
    if channels not in (1, 3):
        raise InputError(f"channels: {channels!r} is not accepted: 1 (grey) or 3 (RGB)")
    least = 16 if str(name) == BUILT_IN else SMALLEST
    if resolution is not None and resolution < least:
        raise InputError(f"resolution: {resolution!r} is not accepted: at least {least} pixels")
    known_fit = next((known for known in FITS if known == fit), None)
    if known_fit is None:
        raise InputError(f"fit: {fit!r} is not accepted: {', '.join(FITS)}")
    least_pixels, most_pixels = MAX_PIXELS
    if max_pixels is not None and not least_pixels <= max_pixels <= most_pixels:
        raise InputError(
            f"max_pixels: {max_pixels!r} is not accepted: {least_pixels:,} to {most_pixels:,}"
        )
    asked = Preparation(resolution, most, channels, known_fit, max_pixels)
    with quiet_readers():
        return _load(name, asked, seed, cache, progress)


def _load(
    name: str | Path,
    asked: Preparation,
    seed: int,
    cache: Path | None,
    progress: Progress | None,
) -> ImageData:
    source = None if str(name) == BUILT_IN else find_source(name)
    key = cache_key(
        {} if source is None else source.files,
        source=str(name) if source is None else [source.name, *source.notes],
        seed=seed,
        **asdict(asked),
    )
    if cache is not None and (stored := read_cache(cache, key)) is not None:
        logger.info("%s: prepared images read from the cache: %s", name, _described(stored))
        return stored if source is not None else replace(stored, augment=BUILT_IN_AUGMENTATION)
    if source is None:
        data = _built_in(asked.resolution, asked.channels, progress)
    else:
        data = _read(source, asked, seed, progress)
    if cache is not None and (problem := write_cache(cache, key, data)) is not None:
        data = replace(data, notes=(*data.notes, problem))
    logger.info("%s: images read: %s", name, _described(data))
    return data


def _described(data: ImageData) -> str:
    sizes = ", ".join("none" if part is None else f"{len(part[1]):,}" for part in data.parts)
    return (
        f"{data.num_classes} classes, {data.resolution} px, {data.channels} channels, "
        f"train, validation, test: {sizes}"
    )


def _built_in(resolution: int | None, channels: int, progress: Progress | None) -> ImageData:
    data = fractals(progress=progress, **({} if resolution is None else {"resolution": resolution}))
    data = replace(data, augment=BUILT_IN_AUGMENTATION)
    if channels == 3:
        return data
    test = data.parts[2]
    grey = ImageData.from_parts(
        data.name,
        data.classes,
        (_grey(data.train_images), data.train_labels),
        (_grey(data.validation_images), data.validation_labels),
        None if test is None else (_grey(test[0]), test[1]),
    )
    return replace(grey, augment=data.augment)


def _grey(images: torch.Tensor) -> torch.Tensor:
    """Brightness `[N, 1, H, W]` by ITU-R 601-2, in integers as PIL computes it."""
    red, green, blue = images.to(torch.int32).unbind(1)
    luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return luma.to(torch.uint8)[:, None]


def _read(source: Source, asked: Preparation, seed: int, progress: Progress | None) -> ImageData:
    with bombs_are_errors(asked.max_pixels):
        pixels, labels, said = _decode_all(source, asked, progress)
    notes = [*source.notes, *said]
    classes, parts = _label_parts(source, pixels, labels, notes)
    train = parts["train"]
    counts = torch.bincount(train[1], minlength=len(classes))
    if len(classes) < 2:
        raise InputError(f"{source.name}: one class only ({classes[0]!r}), at least 2 are needed")
    if 0 in counts:
        empty = classes[int(counts.argmin())]
        raise InputError(f"{source.name}: the class {empty!r} has no training images")
    notes += _repeated(parts)
    if "validation" not in parts:
        if counts.min() < 2:
            single = classes[int(counts.argmin())]
            raise InputError(
                f"{source.name}: the class {single!r} has one image only, at least 2 are needed "
                "(one to train, one to validate)"
            )
        kept, held_out = stratified_split(train[1], seed=seed)
        parts["validation"] = _select(train, held_out)
        parts["train"] = _select(train, kept)
    for split in ("validation", "test"):
        if split in parts:
            missing = int((torch.bincount(parts[split][1], minlength=len(classes)) == 0).sum())
            if missing:
                notes.append(f"the {split} split lacks {missing} of {len(classes)} classes")
    return ImageData.from_parts(
        source.name, classes, parts["train"], parts["validation"], parts.get("test"), notes
    )


def _repeated(parts: Mapping[str, Part]) -> list[str]:
    """What to say of images of the validation and test parts that are training images, too."""

    def hashes(part: Part) -> list[int]:
        return [hash(image.tobytes()) for image in part[0].permute(0, 2, 3, 1).numpy()]

    held_out = [split for split in ("validation", "test") if split in parts]
    if not held_out:
        return []
    seen, notes = set(hashes(parts["train"])), []
    for split in held_out:
        count = sum(found in seen for found in hashes(parts[split]))
        if count:
            total = len(parts[split][1])
            notes.append(f"{count:,} of {total:,} {split} images are training images, too")
    return notes


def _select(part: Part, indices: torch.Tensor) -> Part:
    # By whole images in their order in memory, [H, W, C]: indexing the permuted view is slower.
    images = part[0].permute(0, 2, 3, 1)[indices].permute(0, 3, 1, 2)
    return images, part[1][indices]


# Labels -------------------------------------------------------------------------------------------


def _label_parts(
    source: Source,
    pixels: dict[str, torch.Tensor],
    labels: dict[str, list[Label]],
    notes: list[str],
) -> tuple[tuple[str, ...], dict[str, Part]]:
    """The classes, and the parts with labels counted from 0."""
    for split in ("validation", "test"):
        # The hub's way of keeping test labels secret.
        if split in labels and all(label in (None, -1) for label in labels[split]):
            notes.append(f"the {split} split has no labels and is left out")
            del labels[split], pixels[split]
    if not labels["train"]:
        raise InputError(f"{source.name}: no training images")
    for split, values in labels.items():
        labels[split] = values = [_plain_label(source, split, *item) for item in enumerate(values)]
        for row, label in enumerate(values):
            if label is None or label == -1:
                raise InputError(
                    f"{_where(source.name, split, row)}: the label "
                    f"({source.label_column!r}) is {'missing' if label is None else label}"
                )
    if source.classes is not None:
        classes = source.classes
        numbers: dict[Any, int] = {i: i for i in range(len(classes))}
        if source.names:
            notes.append(
                "the label numbers of the splits count the classes in different orders: they are "
                "matched by name"
            )
    else:
        # One column has one type: integers in their order, text in its own.
        values_found = sorted(set(labels["train"]), key=lambda v: (str(type(v)), v))
        classes = tuple(map(str, values_found))
        numbers = {value: i for i, value in enumerate(values_found)}
    parts: dict[str, Part] = {}
    for split, values in labels.items():
        own = numbers
        names = source.names.get(split)
        if names is not None:
            by_name = {name: number for number, name in enumerate(classes)}
            own = {i: by_name[name] for i, name in enumerate(names) if name in by_name}
        for row, label in enumerate(values):
            if label not in own:
                called = ""
                if names is not None and isinstance(label, int) and 0 <= label < len(names):
                    called = f", {names[label]!r},"
                raise InputError(
                    f"{_where(source.name, split, row)}: the label ({source.label_column!r}) "
                    f"{label!r}{called} is none of the {len(classes)} classes of the training "
                    "images"
                )
        parts[split] = pixels[split], torch.tensor([own[v] for v in values])
    return classes, parts


def _plain_label(source: Source, split: str, row: int, label: Label) -> Label:
    """A label as an integer, a truth value or text; None where it is missing."""
    if not isinstance(label, float):
        return label
    if math.isnan(label):
        return None
    if not label.is_integer():
        raise InputError(
            f"{_where(source.name, split, row)}: the label ({source.label_column!r}) {label!r} is "
            "not accepted: a whole number"
        )
    return int(label)


# Pixels -------------------------------------------------------------------------------------------


def _decode_all(
    source: Source, asked: Preparation, progress: Progress | None
) -> tuple[dict[str, torch.Tensor], dict[str, list[Label]], list[str]]:
    """Images uint8 `[N, C, H, W]` (channels_last) and raw labels by split; what was done to them.

    Broken images are all found before they are told of.
    """
    # Without a resolution, all images are hoped to have the size of the first; the first one that
    # does not begins it anew. Cheaper than to read all headers beforehand.
    target, exact = asked.resolution, False
    if target is None:
        target, exact = _first_size(source), True
        if asked.most is not None and target > asked.most:
            target, exact = asked.most, False
    ranges: dict[DepthKind, PixelRange] | None = None
    while True:
        _check_memory(source, target, asked.channels)
        work = _Decoding(target, asked.channels, exact, asked.fit, ranges)
        tally, broken = Tally(), []
        pixels: dict[str, torch.Tensor] = {}
        labels: dict[str, list[Label]] = {}
        try:
            done = 0
            for split in source.splits:
                chunks: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
                labels[split] = []
                for images, values in _in_parallel(source, split, work):
                    good = [image for image in images if isinstance(image, Decoded)]
                    broken += [image for image in images if isinstance(image, InputError)]
                    if broken:
                        chunks.clear()  # no use any more
                    else:
                        chunks.append(np.stack([image.pixels for image in good]))
                    labels[split] += values
                    for image in good:
                        tally.count(image, target)
                    done += len(images)
                    if progress is not None:
                        progress(done, max(done, source.rows or 0))
                if not labels[split]:
                    del labels[split]
                elif not broken:
                    pixels[split] = torch.from_numpy(np.concatenate(chunks)).permute(0, 3, 1, 2)
        except OtherSizeError:
            target, exact = asked.most or DEFAULT_RESOLUTION, False
            continue
        except DeepPixelsError:
            ranges = _pixel_ranges(source)
            continue
        if broken:
            raise _all_broken(broken, done)
        if "train" not in labels:
            raise InputError(f"{source.name}: no training images")
        return pixels, labels, tally.notes(target, asked.channels, asked.fit, ranges or {})


def _all_broken(errors: list[InputError], total: int) -> InputError:
    if len(errors) == 1:
        return errors[0]
    named = "; ".join(str(error) for error in errors[:NAMED])
    rest = f"; and {len(errors) - NAMED:,} more" if len(errors) > NAMED else ""
    return InputError(f"{len(errors):,} of {total:,} images cannot be used: {named}{rest}")


def _pixel_ranges(source: Source) -> dict[DepthKind, PixelRange]:
    """The grey values that become 0 and 255, of images of more than 8 bits, over all splits.

    Images that cannot be read are left to the decoding, which tells of them.
    """

    def work(encoded: bytes | Path, where: str) -> tuple[DepthKind, PixelRange] | None:
        return grey_values(encoded, where)

    seen: dict[DepthKind, list[PixelRange]] = {}
    for split in source.splits:
        for found, _ in _in_parallel(source, split, work):
            for one in found:
                if isinstance(one, tuple):
                    seen.setdefault(one[0], []).append(one[1])
    return {
        kind: pixel_range(kind, min(low for low, _ in every), max(high for _, high in every))
        for kind, every in sorted(seen.items())
    }


@dataclass(frozen=True)
class _Decoding:
    """What is done with each image."""

    resolution: int
    channels: int
    exact: bool
    fit: Fit
    ranges: Mapping[DepthKind, PixelRange] | None

    def __call__(self, encoded: bytes | Path, where: str) -> Decoded:
        return decode(
            encoded,
            where,
            resolution=self.resolution,
            channels=self.channels,
            exact=self.exact,
            fit=self.fit,
            ranges=self.ranges,
        )


def _first_size(source: Source) -> int:
    """The side of the first training image that can be read if it is square, else the default."""
    for cells, _, first in _batches(source, "train", 1):
        try:
            encoded, where = _encoded(cells[0], _where(source.name, "train", first))
            # Decoded for its errors alone: they are better told by the one function that does it.
            decode(encoded, where, resolution=SMALLEST, channels=3, ranges=_ANY_RANGE)
        except InputError:
            continue
        with opened_image(encoded) as image:
            width, height = image.size
        return width if width == height else DEFAULT_RESOLUTION
    return DEFAULT_RESOLUTION


_ANY_RANGE: Mapping[DepthKind, PixelRange] = {"integer": (0.0, 1.0), "floating-point": (0.0, 1.0)}

T = TypeVar("T")


def _in_parallel(
    source: Source, split: str, work: Callable[[bytes | Path, str], T]
) -> Iterator[tuple[list[T | InputError], list[Label]]]:
    """What `work` makes of each image, or its error, and labels, in the order of the rows."""

    def one(item: tuple[int, Any]) -> T | InputError:
        row, cell = item
        try:
            return work(*_encoded(cell, _where(source.name, split, row)))
        except InputError as error:
            return error

    with ThreadPoolExecutor(available_cores()) as pool:
        for cells, labels, first in _batches(source, split, BATCH):
            items = list(enumerate(cells, first))
            sizes = [len(cell["bytes"]) for cell in cells if _has_bytes(cell)]
            small = len(sizes) == len(cells) and sum(sizes) < THREADS_FROM_BYTES * len(cells)
            yield list(map(one, items) if small else pool.map(one, items)), labels


def _batches(source: Source, split: str, size: int) -> Iterator[tuple[list[Any], list[Label], int]]:
    """Cells of the image column, labels, and the number of the first row."""
    first = 0
    batches = iter(source.splits[split].with_format("arrow").iter(batch_size=size))
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except Exception as error:  # a file that breaks off in the middle
            where = _where(source.name, split, first)
            raise InputError(f"{where}: cannot be read: {one_line(error, 200)}") from None
        cells = batch.column(source.image_column).to_pylist()
        labels = batch.column(source.label_column).to_pylist()
        yield cells, labels, first
        first += len(cells)


def _has_bytes(cell: Any) -> bool:
    return isinstance(cell, dict) and cell.get("bytes") is not None


def _encoded(cell: Any, where: str) -> tuple[bytes | Path, str]:
    """What is to be decoded, and how to name it: a file by its path, a row by its number."""
    if isinstance(cell, bytes):
        return cell, where
    if isinstance(cell, dict):
        path = cell.get("path")
        if cell.get("bytes") is not None:
            return cell["bytes"], f"{where} ({path})" if path else where
        if path:
            file = path_stored(path)
            return file, visible(str(file))
    raise InputError(f"{where}: the image is missing")


def _where(name: str, split: str, row: int) -> str:
    return f"{name}, split {split!r}, row {row} (from 0)"


def _check_memory(source: Source, resolution: int, channels: int) -> None:
    """Better an error now than being killed in the middle.

    Images lie there twice while they are put together, and while some are taken out to validate.
    """
    available = memory()
    if source.rows is None or available is None:
        return
    needed = 2 * source.rows * resolution**2 * channels
    if needed > 0.8 * available:
        raise InputError(
            f"{source.name}: {source.rows:,} images of {resolution} px need "
            f"{needed / 2**30:.1f} GiB of memory to be read, this machine has "
            f"{available / 2**30:.1f}; give fewer images, or make them smaller"
        )
