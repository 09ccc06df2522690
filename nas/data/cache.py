"""Decoded images on disk, so that a second start is fast. Never trusted, never needed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nas.data.images import ImageData, fingerprint
from nas.errors import one_line

logger = logging.getLogger(__name__)

# Part of every key: raise it when decoding or splitting changes.
FORMAT = "nas-search-images/5"


def cache_key(files: Mapping[Path, str], **settings: Any) -> str:
    """The name of a cache entry, by all that decides what is in it.

    Of each file the path as it was given, what its place decides (split and class), what the path
    leads to, and size, times and number of that; and the settings.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, settings], sort_keys=True).encode())
    for file, place in files.items():
        found = file.stat()
        about = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        line = json.dumps([os.path.abspath(file), place, os.path.realpath(file), *about])
        digest.update(line.encode())
    return digest.hexdigest()[:32]


def read_cache(folder: Path, key: str) -> ImageData | None:
    """The data stored under `key`; None when there is none or it is broken in any way."""
    from safetensors import safe_open

    path = _path(folder, key)
    if not path.is_file():
        logger.debug("%s: not in the cache", path)
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()["data"])
            # Stored as [N, H, W, C], see write_cache.
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        for part in ("train", "validation", "test"):
            images = tensors.get(f"{part}_images")
            tensors[f"{part}_images"] = None if images is None else images.permute(0, 3, 1, 2)
            tensors.setdefault(f"{part}_labels", None)
        data = ImageData(
            name=metadata["name"],
            fingerprint=metadata["fingerprint"],
            classes=tuple(metadata["classes"]),
            mean=tuple(metadata["mean"]),
            std=tuple(metadata["std"]),
            notes=tuple(metadata["notes"]),
            pixel_ranges={kind: (low, high) for kind, (low, high) in metadata["ranges"].items()},
            **tensors,
        )
        # A fifth of a second a gigabyte… and a flipped bit would be a wrong result for good.
        if fingerprint(data.classes, data.parts) == data.fingerprint:
            return data
        logger.warning("%s: its fingerprint does not match; the images are read again", path)
    except Exception as error:  # whatever is wrong with it, it is made anew
        logger.warning("%s: cannot be read (%s); the images are read again", path, error)
    return None


def write_cache(folder: Path, key: str, data: ImageData) -> str | None:
    """Store the data, whole or not at all; what went wrong, for a note, or None.

    A cache that cannot be written is no reason to stop.
    """
    from safetensors.torch import save_file

    path = _path(folder, key)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    tensors: dict[str, Tensor] = {
        "train_labels": data.train_labels,
        "validation_labels": data.validation_labels,
    }
    # safetensors stores contiguous tensors only: channels last as an explicit order of axes.
    tensors["train_images"] = data.train_images.permute(0, 2, 3, 1)
    tensors["validation_images"] = data.validation_images.permute(0, 2, 3, 1)
    if data.test_images is not None and data.test_labels is not None:
        tensors["test_images"] = data.test_images.permute(0, 2, 3, 1)
        tensors["test_labels"] = data.test_labels
    metadata = {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "classes": data.classes,
        "mean": data.mean,
        "std": data.std,
        "notes": data.notes,
        "ranges": data.pixel_ranges,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(
                {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
                temporary,
                {"data": json.dumps(metadata)},
            )
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, path)
            logger.debug("%s: written", path)
        finally:
            temporary.unlink(missing_ok=True)
    except Exception as error:  # OSError, and safetensors' own for a full disk
        reason = getattr(error, "strerror", None) or one_line(error)
        return f"prepared images could not be kept in {folder}: {reason}"
    return None


def _path(folder: Path, key: str) -> Path:
    return folder / f"images-{key}.safetensors"
