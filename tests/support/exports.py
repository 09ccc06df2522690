"""What the tests of exports share: a network that every target can express, and its export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.export.export import Export, export_network
from nas.export.targets import Target
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from tests.support.silent import Silent


def export(architecture: Architecture, target: Target, folder: Path, **more: Any) -> Export:
    return export_network(architecture, target, folder, progress=Silent(), **more)


def small(**changes: Any) -> Architecture:
    """A network of every kind of block that all targets can express."""
    stages = (
        Stage("mbconv", 3, 1, 1, 16, 2, 0.25),
        Stage("fused_mbconv", 3, 2, 4, 24, 2, 0.0),
        Stage("mbconv", 5, 2, 6, 24, 1, 0.25),
        Stage("fused_mbconv", 3, 1, 1, 24, 1, 0.0),
    )
    made = Architecture("small", 32, 3, 5, "silu", Norm(), Stem(3, 2, 16), stages, Head(32, 0.2))
    return replace(made, **changes)
