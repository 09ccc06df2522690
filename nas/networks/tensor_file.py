"""Files of named tensors: safetensors, and PyTorch state dicts. Reading one runs no code."""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import InputError, one_line
from nas.files import file_size, opened, write_bytes
from nas.networks.checkpoint import StateDict, find_state_dict

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 4 * 1024 * 1024 * 1024
"""The largest file that is read: a thousand million numbers in single precision."""

PYTORCH = (".pt", ".pth", ".bin", ".ckpt", ".tar")
"""Endings of files that PyTorch writes; ``.pth.tar`` is one of them."""


def read_tensors(path: Path) -> tuple[StateDict, Mapping[str, str]]:
    """Return the tensors and the metadata of a file of safetensors or of PyTorch.

    The tensors are on the CPU, of any shape and type, and may be mapped from the file. A file of
    PyTorch is read with ``weights_only`` and has no metadata; it may be a checkpoint that has the
    state dict as one of its entries.

    Raises:
        InputError: the file does not exist, is not of one of these formats, or is damaged.
    """
    file_size(path, MAX_BYTES)
    metadata: Mapping[str, str] = {}
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
        return StateDict(tensors), metadata
    if path.suffix not in PYTORCH:
        raise InputError(f"{path}: weights are accepted as .safetensors, {', '.join(PYTORCH)}")
    return find_state_dict(_read_pytorch(path), str(path)), metadata


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors, whole or not at all; the same content gives the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    from safetensors.torch import save

    write_bytes(path, _in_order(save(dict(tensors), dict(metadata))))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its metadata sorted, which the library writes in any order."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format asks for it
    return len(text).to_bytes(8, "little") + text + content[start:]


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except Exception as error:  # the bytes may be anything, and so may be what its reader raises
        raise InputError(f"{path}: not safetensors that can be read: {one_line(error)}") from None


def _read_pytorch(path: Path) -> object:
    import torch

    _refuse_compressed(path)
    try:
        # Training scripts store their arguments beside the weights; a Namespace runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the bytes may be anything, and so may be what its parser raises
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = "not a file that PyTorch reads as weights only"
        if refused:
            what += (
                f": it contains {refused[1]}, which could run code; save model.state_dict() alone"
            )
        raise InputError(f"{path}: {what}") from None


def _refuse_compressed(path: Path) -> None:
    """Raise if an archive unpacks to more bytes than it has: PyTorch stores without compression."""
    size = file_size(path, MAX_BYTES)
    try:
        with opened(path, MAX_BYTES) as stream:
            if stream.read(2) != b"PK" and not zipfile.is_zipfile(stream):
                return  # the format before PyTorch 1.6 is no archive
            with zipfile.ZipFile(stream) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # the bytes may be anything, and so may be what its reader raises
        raise InputError(f"{path}: not a state dict: its archive cannot be read") from None
    if unpacked > size:
        raise InputError(f"{path}: unpacks to {unpacked:,} bytes, more than its {size:,}: refused")
