"""From a name or a path to images in memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from nas.data.cache import cache_key, read_cache, write_cache
from nas.data.decode import SMALLEST, bombs_are_errors, check_fit
from nas.data.fractals import fractals
from nas.data.grouped_split import grouped_split
from nas.data.images import ImageData, Part, stratified_split
from nas.data.labels import label_parts
from nas.data.reading import Preparation, Progress, read_groups, read_images
from nas.data.source import SPLITS, Source
from nas.data.sources import find_source, quiet_readers
from nas.errors import InputError, check_range

logger = logging.getLogger(__name__)

BUILT_IN = "fractals"

BUILT_IN_AUGMENTATION = ("shift",)
"""A mirrored fractal is one of another class."""

LEAST_HELD_OUT = 500
"""Test images are held out of at least so many training images."""

TEST_SHARE, VALIDATION_SHARE, MOST_HELD_OUT = 0.15, 0.1, 5_000
"""Shares of the training images that are held out, and images at most."""

Together = Sequence[str] | torch.Tensor
"""The group of each image, or the index of the first that is equal to it."""

MAX_PIXELS = (1 << 10, 1 << 31)
"""Least and most of the largest image that may be read, in pixels."""


def load_images(
    name: str | Path,
    *,
    resolution: int | None = None,
    most: int | None = None,
    channels: int = 3,
    fit: str = "crop",
    max_pixels: int | None = None,
    hold_out: bool = True,
    groups: str | None = None,
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ImageData:
    """Load a data set into memory as uint8 tensors.

    `name` is `"fractals"` (the built-in set), a folder of class folders (or of train/, validation/
    and test/ with class folders in each, or with a `metadata.csv` or `metadata.jsonl` of
    `file_name` and `label`), a folder with parquet files in the layout of the Hugging Face hub, a
    parquet file, a folder written by `save_to_disk` of the `datasets` library, or a data set of the
    hub. Where the source has no test split, one is held out of at least 500 training images unless
    `hold_out` is false, and where it has no validation split, one of those that are left, by `seed`
    (`stratified_split`), equal images on one side; images with the same value of the column
    `groups`, or in the same folder within the class folders (`folder`), are kept together
    (`grouped_split`). The parts of the built-in set are fixed. Images of one square size stay as
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
    check_range("max-pixels", max_pixels, *MAX_PIXELS)
    asked = Preparation(resolution, most, channels, check_fit(fit), max_pixels, hold_out, groups)
    with quiet_readers():
        return _load(name, asked, seed, cache, progress)


def _load(
    name: str | Path,
    asked: Preparation,
    seed: int,
    cache: Path | None,
    progress: Progress | None,
) -> ImageData:
    source = None if str(name) == BUILT_IN else find_source(name, asked.groups)
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
        read = read_images(source, asked, progress)
    notes = [*source.notes, *read.notes]
    classes, parts = label_parts(source, read.pixels, read.labels, notes)
    train = parts["train"]
    counts = torch.bincount(train[1], minlength=len(classes))
    if len(classes) < 2:
        raise InputError(f"{source.name}: one class only ({classes[0]!r}), at least 2 are needed")
    if 0 in counts:
        empty = classes[int(counts.argmin())]
        raise InputError(f"{source.name}: the class {empty!r} has no training images")
    hashes = _hashes(train)
    groups = read_groups(source, "train")
    if groups is not None:
        notes += _shared_groups(source, parts, set(groups))
    together: Together = groups or _copies(hashes, train[1], len(classes))
    # Indices first, so that no image is in memory more often than it must be.
    left = torch.arange(len(train[1]))
    if "test" not in parts and asked.hold_out:
        found = _test_images(train[1], classes, together, "validation" not in parts, seed)
        if isinstance(found, str):
            notes.append(f"no test images, and none are held out: {found}")
        else:
            left, held_out = found
            parts["test"] = _select(train, held_out)
            notes.append(
                f"{len(held_out):,} of {len(train[1]):,} training images are held out as test "
                "images; --no-test trains on them"
            )
    if "validation" not in parts:
        if counts.min() < 2:
            single = classes[int(counts.argmin())]
            raise InputError(
                f"{source.name}: the class {single!r} has one image only, at least 2 are needed "
                "(one to train, one to validate)"
            )
        try:
            left, held_out = _split(left, train[1], together, VALIDATION_SHARE, seed)
        except ValueError as error:
            reason = f"no groups can be validation images: {error}"
            raise InputError(f"{source.name}: {reason}") from None
        parts["validation"] = _select(train, held_out)
    if len(left) < len(train[1]):
        parts["train"] = _select(train, left)
        hashes = [hashes[index] for index in left.tolist()]
    notes += _repeated(parts, set(hashes))
    for split in ("validation", "test"):
        if split in parts:
            missing = int((torch.bincount(parts[split][1], minlength=len(classes)) == 0).sum())
            if missing:
                notes.append(f"the {split} split lacks {missing} of {len(classes)} classes")
    data = ImageData.from_parts(
        source.name, classes, parts["train"], parts["validation"], parts.get("test"), notes
    )
    return replace(data, pixel_ranges=read.ranges)


def _split(
    among: torch.Tensor,
    labels: torch.Tensor,
    together: Together,
    share: float,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which of some images are kept, and which of them are held out: indices, ascending.

    Raises ValueError where no group can be held out.
    """
    if not isinstance(together, torch.Tensor):
        theirs = [together[index] for index in among.tolist()]
        kept, held = grouped_split(
            labels[among], theirs, fraction=share, limit=MOST_HELD_OUT, seed=seed
        )
        return among[kept], among[held]
    first = together[among]
    once = among[first == among]
    _, held = stratified_split(labels[once], fraction=share, limit=MOST_HELD_OUT, seed=seed)
    out = torch.isin(first, once[held])
    return among[~out], among[out]


def _test_images(
    labels: torch.Tensor,
    classes: Sequence[str],
    together: Together,
    validated: bool,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor] | str:
    """Return which training images are left, and which become the test images, or why none do.

    `validated` says that validation images must be taken from those that are left.
    """
    counts = torch.bincount(labels, minlength=len(classes))
    if len(labels) < LEAST_HELD_OUT:
        return f"fewer than {LEAST_HELD_OUT} training images"
    if counts.min() < 3:
        return f"the class {classes[int(counts.argmin())]!r} has fewer than 3 images"
    try:
        # Another seed than that of the validation images, which are of those that are left.
        kept, held_out = _split(torch.arange(len(labels)), labels, together, TEST_SHARE, seed + 1)
        if validated:
            _split(kept, labels, together, VALIDATION_SHARE, seed)
    except ValueError as error:
        return f"too few groups: {error}"
    return kept, held_out


def _shared_groups(source: Source, parts: Mapping[str, Part], known: set[str]) -> list[str]:
    """Return what to say of held-out images that are of groups that training images are of."""
    notes = []
    for split in ("validation", "test"):
        found = read_groups(source, split) if split in parts else None
        shared = sum(group in known for group in found or ())
        if shared:
            notes.append(
                f"{shared:,} of {len(found or ()):,} {split} images are of groups that training "
                "images are of, too"
            )
    return notes


def _hashes(part: Part) -> list[int]:
    return [hash(image.tobytes()) for image in part[0].permute(0, 2, 3, 1).numpy()]


def _copies(hashes: Sequence[int], labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return for each image the index of the first that is equal to it, pixel by pixel.

    Copies are held out together or not at all: none judges what the others have taught. Each image
    stands for itself where a class has too few different ones for that.
    """
    first: dict[int, int] = {}
    found = torch.tensor([first.setdefault(value, index) for index, value in enumerate(hashes)])
    alone = torch.arange(len(found))
    different = torch.bincount(labels[found == alone], minlength=classes)
    return found if different.min() >= len(SPLITS) else alone


def _repeated(parts: Mapping[str, Part], trained: set[int]) -> list[str]:
    """What to say of images of the validation and test parts that are training images, too."""
    notes = []
    for split in ("validation", "test"):
        if split in parts:
            count = sum(found in trained for found in _hashes(parts[split]))
            if count:
                total = len(parts[split][1])
                notes.append(f"{count:,} of {total:,} {split} images are training images, too")
    return notes


def _select(part: Part, indices: torch.Tensor) -> Part:
    # By whole images in their order in memory, [H, W, C]: indexing the permuted view is slower.
    images = part[0].permute(0, 2, 3, 1)[indices].permute(0, 3, 1, 2)
    return images, part[1][indices]
