"""Trained weights, wherever they come from: their network, their tensors, their normalisation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import InputError
from nas.files import sha256
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import published
from nas.networks.libraries import LIBRARIES, library_weights
from nas.networks.weights import CLASSIFIER, FIRST, network_with, state_shapes
from nas.networks.weights_file import Weights, read_weights

if TYPE_CHECKING:
    from nas.networks.modules import Network

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel of the images, scaled to 0…1."""


@dataclass(frozen=True)
class Pretrained:
    """Trained weights that a network may begin with.

    Attributes:
        source: file, or library and name, as the user named it.
        digest: SHA-256 of the file that holds them.
        architecture: of the network that they are of.
        weights: content of the file.
        notes: what a user should know of how they were read.
    """

    source: str
    digest: str
    architecture: Architecture
    weights: Weights
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The source without the folders before it, for files that others read."""
        return os.path.basename(self.source)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes; None: they are not known."""
        known = self.weights.trained_on
        return None if known is None or not known.classes else known.classes

    def normalisation(self, channels: int) -> Normalisation | None:
        """Return the mean and standard deviation that the images had, if they are known.

        Args:
            channels: of the images; a normalisation of another number of channels is ignored.
        """
        return self.weights.normalisation(channels)

    def network(self, channels: int, classes: int) -> Network:
        """Return the network of the weights, with the input and output that are asked for.

        Args:
            channels: of the images; the first convolution is adapted.
            classes: a classifier of another number of classes is newly initialised.
        """
        wanted = replace(self.architecture, in_channels=channels, num_classes=classes)
        return network_with(self.weights, wanted, transfer=True)


def load_pretrained(
    source: str | Path,
    architecture: Architecture | None = None,
    target: Architecture | None = None,
) -> Pretrained:
    """Return trained weights from a file or from a library.

    A file that does not name its network is taken for the target's, if its tensors are, or else for
    the published network that has exactly such tensors.

    Args:
        source: a file, ``timm:NAME`` or ``torchvision:NAME``; the libraries download and cache.
        architecture: of the weights; None: it is found as described.
        target: the network that is to begin with the weights.

    Raises:
        InputError: there are no such weights, they cannot be read, or their network is not known.
    """
    text = str(source)
    library, _, name = text.partition(":")
    if library in LIBRARIES and name:
        path, known, weights = library_weights(library, name)
        return Pretrained(text, sha256(path), known, weights, weights.steps)
    path = Path(source)
    weights = read_weights(path)
    known_by = ""
    found = weights.architecture or architecture
    if found is None:
        candidates = [] if target is None else [target]
        candidates += published().values()
        found = next((one for one in candidates if _has_tensors_of(weights, one)), None)
        if found is None:
            raise InputError(
                f"{path}: names no architecture, and its tensors are of no known network; name "
                "the network with --weights-arch"
            )
        known_by = f"the tensors are those of {found.name}"
    notes = (*reading_notes(weights, found), *([known_by] if known_by else []))
    return Pretrained(text, sha256(path), found, weights, notes)


def reading_notes(weights: Weights, architecture: Architecture) -> tuple[str, ...]:
    """Return what a user should know of how a file was read for a network."""
    if weights.layout != "efficientnet_pytorch" or architecture.padding == "same":
        return weights.steps
    return (
        *weights.steps,
        "efficientnet_pytorch pads images as TensorFlow does: until it is trained further, the "
        f"outputs of {architecture.name}, whose padding is symmetric, differ somewhat from its own",
    )


def _has_tensors_of(weights: Weights, architecture: Architecture) -> bool:
    """Return whether a file has the tensors of a network, but for its classes and channels."""
    try:
        shapes = state_shapes(architecture, weights.layout)
    except InputError:  # a block has no name in the library
        return False
    free = set(state_shapes(architecture, weights.layout, only=(FIRST, *CLASSIFIER)))
    have = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    return _without(have, free) == _without(shapes, free)


def _without(shapes: Mapping[str, tuple[int, ...]], free: set[str]) -> dict[str, tuple[int, ...]]:
    return {
        name: shape
        for name, shape in shapes.items()
        if name not in free and not name.endswith("num_batches_tracked")
    }
