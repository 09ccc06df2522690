"""From a source to pixels in memory: decoded in parallel, all broken images told of at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from nas.data.decode import (
    SMALLEST,
    Decoded,
    DeepPixelsError,
    DepthKind,
    Fit,
    OtherSizeError,
    PixelRange,
    Tally,
    decode,
    grey_values,
    opened_image,
    pixel_range,
)
from nas.data.source import Label, Source, path_stored, row_name
from nas.environment import available_cores, memory
from nas.errors import InputError, one_line, visible

# Where images differ in size and nothing else is asked for: enough for a proxy, and an eighth of
# the work of 256 px.
DEFAULT_RESOLUTION = 128

BATCH = 512  # rows read at once
# Below this an image is decoded faster than threads take turns (measured: 32 px, 1 kB).
THREADS_FROM_BYTES = 4096

NAMED = 10  # broken images that an error names

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Preparation:
    """How images are made ready.

    Attributes:
        resolution: pixels a side; None: as they are, where all are squares of one size.
        most: with it, images that differ in size, or are larger, are resized to so many pixels.
        channels: 3 (RGB) or 1 (grey).
        fit: how an image that is not square becomes one.
        max_pixels: larger images are refused; None: Pillow's limit.
        hold_out: where there are no test images, some of the training images become these.
        groups: column of the source, or ``folder``: images that a split keeps together.
    """

    resolution: int | None = None
    most: int | None = None
    channels: int = 3
    fit: Fit = "crop"
    max_pixels: int | None = None
    hold_out: bool = True
    groups: str | None = None


@dataclass(frozen=True)
class ReadImages:
    """What was read of a source.

    Attributes:
        pixels: uint8 `[N, C, H, W]` (channels_last) by split.
        labels: by split, as the rows have them.
        ranges: grey values that became 0 and 255, of images of more than 8 bits.
        notes: what was done to the images.
    """

    pixels: dict[str, torch.Tensor]
    labels: dict[str, list[Label]]
    ranges: Mapping[DepthKind, PixelRange]
    notes: list[str]


def read_images(source: Source, asked: Preparation, progress: Progress | None) -> ReadImages:
    """Read all images of a source. Broken images are all found before they are told of."""
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
            raise all_broken(broken, done)
        if "train" not in labels:
            raise InputError(f"{source.name}: no training images")
        ranges = ranges or {}
        notes = tally.notes(target, asked.channels, asked.fit, ranges)
        return ReadImages(pixels, labels, ranges, notes)


def read_groups(source: Source, split: str) -> list[str] | None:
    """Return the group of each row of a split; None: the source has no groups.

    Raises InputError where one is missing.
    """
    column = source.group_column
    if column is None:
        return None
    rows = source.splits[split].select_columns([column]).with_format("arrow")
    found: list[str] = []
    for batch in rows.iter(batch_size=BATCH):
        for value in batch.column(column).to_pylist():
            if value is None or value == "" or isinstance(value, list | dict):
                where = row_name(source, split, len(found))
                raise InputError(f"{where}: the group ({column!r}) is missing, or no single value")
            found.append(str(value))
    return found


def all_broken(errors: Sequence[InputError], total: int) -> InputError:
    """Return one error for all images that cannot be used, of so many in all."""
    if len(errors) == 1:
        return errors[0]
    named = "; ".join(str(error) for error in errors[:NAMED])
    rest = f"; and {len(errors) - NAMED:,} more" if len(errors) > NAMED else ""
    return InputError(f"{len(errors):,} of {total:,} images cannot be used: {named}{rest}")


def _pixel_ranges(source: Source) -> dict[DepthKind, PixelRange]:
    """The grey values that become 0 and 255, of images of more than 8 bits, over all splits.

    Images that cannot be read are left to the decoding, which tells of them.
    """

    seen: dict[DepthKind, list[PixelRange]] = {}
    for split in source.splits:
        for found, _ in _in_parallel(source, split, grey_values):
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
            encoded, where = _encoded(cells[0], row_name(source, "train", first))
            # Decoded for its errors alone: they are better told by the one function that does it.
            decode(encoded, where, resolution=SMALLEST, channels=3, ranges=_ANY_RANGE)
        except InputError:
            continue
        with opened_image(encoded) as image:
            width, height = image.size
        return width if width == height else DEFAULT_RESOLUTION
    return DEFAULT_RESOLUTION


_ANY_RANGE: Mapping[DepthKind, PixelRange] = {"integer": (0.0, 1.0), "floating-point": (0.0, 1.0)}


def _in_parallel(
    source: Source, split: str, work: Callable[[bytes | Path, str], T]
) -> Iterator[tuple[list[T | InputError], list[Label]]]:
    """What `work` makes of each image, or its error, and labels, in the order of the rows."""

    def one(item: tuple[int, Any]) -> T | InputError:
        row, cell = item
        try:
            return work(*_encoded(cell, row_name(source, split, row)))
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
            where = row_name(source, split, first)
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
