"""What lies beside an architecture file: the weights that a training or a run left there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.records.results import BASELINE_WEIGHTS

WEIGHTS = "weights.safetensors"
"""The weights of a training, in its folder."""

_FILES = ("architecture.json", "baseline.json")


def architecture_in(path: Path) -> Path | None:
    """Return an architecture file: the path itself, or the one in a folder; None: it is a name.

    Raises:
        InputError: the folder has none.
    """
    if path.is_dir():
        for name in _FILES:
            if (path / name).is_file():
                return path / name
        raise InputError(
            f"{path}: has no architecture: accepted: a folder with {_FILES[0]} or "
            f"{_FILES[1]}, a file, or a known name"
        )
    return path if path.suffix == ".json" else None


def weights_beside(
    file: Path, architecture: Architecture, note: Callable[[str], None]
) -> Path | None:
    """Return the weights of a network in the folder of its file; None: there are none.

    Weights of another network, or of another training's classes, are left alone.

    Args:
        file: of the architecture.
        architecture: that it holds.
        note: told of weights that are left alone.
    """
    from nas.networks.weights_file import read_weights

    for name in (f"{file.stem}.safetensors", WEIGHTS, BASELINE_WEIGHTS):
        path = file.parent / name
        if path.is_file():
            try:
                known = read_weights(path).architecture
            except InputError as error:
                note(f"weights: not used: {error}")
                continue
            if known is not None and known.key() == architecture.key():
                return path
            why = "it does not name its network"
            if known is not None:
                same = known.name == architecture.name
                why = f"it is of another {known.name}" if same else f"it is of {known.name}"
            note(f"weights: {path} is not used: {why}")
    return None


def weights_in(path: Path) -> Path:
    """Return a file of weights: the path itself, or the one in a folder of a training or a run.

    Raises:
        InputError: the folder has none.
    """
    if not path.is_dir():
        return path
    for name in (WEIGHTS, BASELINE_WEIGHTS):
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"{path}: has no weights: accepted: a folder with {WEIGHTS} or "
        f"{BASELINE_WEIGHTS}, or a file"
    )
