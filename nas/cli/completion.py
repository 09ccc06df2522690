"""What a shell completes: names that are known, and files of the kind that is meant.

Where nothing fits, a shell completes file names by itself. Nothing here is slow to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from nas.plugins import Registration, Registry

Complete = Callable[[str], list[tuple[str, str]]]
"""Given what is typed of a word: what it may become, each with a few words on it."""

TARGETS = ("timm", "torchvision", "onnx", "torch", "json")
"""Of exports, as ``nas.export.targets`` has them, which would load torch too."""


def one_of(*names: str) -> Complete:
    """Return what completes one of a few words."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return _fitting(((name, "") for name in names), incomplete)

    return complete


def architectures(incomplete: str) -> list[tuple[str, str]]:
    """Complete the networks that are known, and JSON files."""
    from nas.spaces.registry import KNOWN_ARCHITECTURES

    known = ((name, "as published") for name in KNOWN_ARCHITECTURES)
    return _fitting(known, incomplete) + _files("*.json", incomplete)


def spaces(incomplete: str) -> list[tuple[str, str]]:
    """Complete the shipped search spaces, and TOML files."""
    return _shipped("search_spaces", incomplete) + _files("*.toml", incomplete)


def budgets(incomplete: str) -> list[tuple[str, str]]:
    """Complete the shipped budgets, and TOML files."""
    return _shipped("budgets", incomplete) + _files("*.toml", incomplete)


def proxies(incomplete: str) -> list[tuple[str, str]]:
    """Complete the ways of measuring accuracy."""
    from nas.proxies.registry import PROXIES

    return _registered(PROXIES, incomplete)


def samplers(incomplete: str) -> list[tuple[str, str]]:
    """Complete the samplers; after a comma, one more."""
    from nas.strategies.samplers import SAMPLERS

    before, comma, last = incomplete.rpartition(",")
    return [(before + comma + name, what) for name, what in _registered(SAMPLERS, last)]


def folders(incomplete: str) -> list[tuple[str, str]]:
    """Complete the folders of results in ``results/``."""
    found = sorted(path for path in Path("results").glob("*") if path.is_dir())
    return _fitting(((str(path), "") for path in found), incomplete)


def _shipped(kind: str, incomplete: str) -> list[tuple[str, str]]:
    from nas.spaces.registry import shipped

    return _fitting(((name, "shipped") for name in shipped(kind)), incomplete)


def _files(pattern: str, incomplete: str) -> list[tuple[str, str]]:
    return _fitting(((path.name, "a file") for path in sorted(Path().glob(pattern))), incomplete)


def _registered(registry: Registry, incomplete: str) -> list[tuple[str, str]]:
    """Complete the built-in names or, where none fits, those that are installed."""

    def named(registrations: Iterable[Registration]) -> list[tuple[str, str]]:
        names = ((f"{r.name}:" if r.argument else r.name, r.help) for r in registrations)
        return _fitting(names, incomplete)

    return named(registry.built_in) or named(registry.installed())


def _fitting(named: Iterable[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    return [(name, what) for name, what in named if name.startswith(incomplete)]
