"""Names to things: the shipped search spaces and budgets, and the networks that are known."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import read_record
from nas.networks.compound_scaling import published
from nas.spaces.budget import Budget, parse_budget, read_budget
from nas.spaces.search_space import SearchSpace
from nas.spaces.toml import read_space

KNOWN_ARCHITECTURES = tuple(published())


def shipped(kind: str) -> dict[str, Path]:
    """Return the TOML files of ``search_spaces`` or ``budgets`` by name.

    A wheel carries them inside the package; in a checkout they lie beside it.
    """
    package = Path(str(files("nas")))
    for folder in (package / "_data" / kind, package.parent / kind):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    raise InputError(f"{kind}: not found beside the package; install it again")


def load_space(name: str | Path) -> SearchSpace:
    """Return a search space by its name in the catalogue, or from a TOML file.

    Raises:
        InputError: no such name or file, or not a search space.
    """
    return read_space(_resolve(name, shipped("search_spaces"), "space"))


def load_budget(name: str | Path) -> Budget:
    """Return a budget: a name in the catalogue, a TOML file, or terms such as ``400M-flops``.

    Raises:
        InputError: none of these.
    """
    if _is_path(name):
        return read_budget(Path(name))
    found = shipped("budgets").get(str(name))
    return read_budget(found) if found is not None else parse_budget(str(name))


def load_architecture(name: str | Path) -> Architecture:
    """Return an architecture from its JSON file, or by a known name (``efficientnet-b0``).

    Raises:
        InputError: no such name or file, or not an architecture.
    """
    if str(name) in KNOWN_ARCHITECTURES:
        return published()[str(name)]
    path = Path(name)
    if not _is_path(name) and not os.path.lexists(path):
        raise InputError(
            f"architecture {str(name)!r}: no such file, and no known name: "
            + ", ".join(KNOWN_ARCHITECTURES)
        )
    return read_record(path).architecture


def _is_path(name: str | Path) -> bool:
    return isinstance(name, Path) or "/" in name or name.endswith((".toml", ".json"))


def _resolve(name: str | Path, catalogue: dict[str, Path], kind: str) -> Path:
    if _is_path(name):
        return Path(name)
    if str(name) not in catalogue:
        raise InputError(
            f"{kind} {str(name)!r} is not known: {', '.join(catalogue)}, or a TOML file"
        )
    return catalogue[str(name)]
