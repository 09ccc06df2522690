"""Weights files: a network's tensors, which network it is, and what images it was trained on."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as validated

from nas.errors import InputError
from nas.files import parse_json, validate
from nas.networks.architecture import Architecture, Resolution, architecture_from_dict
from nas.networks.checkpoint import without_prefix
from nas.networks.pretrained_names import FIRST_TENSORS, Layout, recognise, rename
from nas.networks.tensor_file import read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from nas.networks.modules import Network

logger = logging.getLogger(__name__)

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation that the published weights of timm and torchvision expect."""

LITE = ((127 / 255,) * 3, (128 / 255,) * 3)
"""Likewise of the official EfficientNet-Lite weights: (pixel − 127) / 128."""

_Channels = Annotated[tuple[float, ...], Field(min_length=1)]


@validated(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class TrainedOn:
    """The images that weights were trained on: images to classify must be prepared the same way.

    Attributes:
        mean: of each channel, with pixels scaled to 0…1; it is subtracted first.
        std: standard deviation of each channel; the difference is divided by it.
        resolution: height and width in pixels.
        classes: names, in the order of the network's outputs; empty: they are not known.
        fit: how images that are not square became so: ``crop``, ``pad`` or ``squeeze``.
        image_resolution: pixels a side of the images before they were resized to ``resolution``;
            None: the same.
        pixel_ranges: grey values that became 0 and 255, by the kind of number, of images of more
            than 8 bits; empty where there were none.
    """

    mean: _Channels
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    resolution: Resolution
    classes: tuple[str, ...]
    fit: Literal["crop", "pad", "squeeze"] = "crop"
    image_resolution: Resolution | None = None
    pixel_ranges: Mapping[Literal["integer", "floating-point"], tuple[float, float]] = field(
        default_factory=dict
    )


_TRAINED_ON: TypeAdapter[TrainedOn] = TypeAdapter(TrainedOn)


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    Attributes:
        source: the file's name, for error messages.
        layout: the library whose names the tensors have.
        tensors: by name, on the CPU; their shapes and values have not been checked.
        architecture: the network that the file names; None if it names none.
        trained_on: the images that the file describes; None if it describes none.
        steps: how the tensors were found in the file.
    """

    source: str
    layout: Layout
    tensors: Mapping[str, Tensor]
    architecture: Architecture | None
    trained_on: TrainedOn | None = None
    steps: tuple[str, ...] = ()

    @property
    def _is_lite(self) -> bool:
        """Whether these are EfficientNet-Lite's: of this package, those without squeeze-excite."""
        return self.layout == "efficientnet_pytorch" and not any("._se_" in n for n in self.tensors)

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return the mean and standard deviation that images must be normalised by, if known.

        Files of other libraries describe no images; they were trained on ImageNet.

        Args:
            channels: of the images; a normalisation of another number of channels is ignored.
        """
        known: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        if self.trained_on is not None:
            known = self.trained_on.mean, self.trained_on.std
        elif self.architecture is None and self.layout != "nas-search":
            known = LITE if self._is_lite else IMAGENET
        return known if known is not None and len(known[0]) == channels else None


def read_weights(path: Path) -> Weights:
    """Return the content of a safetensors file, or of a state dict or checkpoint of PyTorch.

    Raises:
        InputError: the file cannot be read, or its tensors have the names of no known library.
    """
    read, metadata = read_tensors(path)
    found = without_prefix(read, FIRST_TENSORS, str(path))
    tensors, layout = found.tensors, recognise(found.tensors)
    text = metadata.get("architecture")
    logger.debug("%s: %d tensors read, named as by %s", path, len(tensors), layout)
    source = f"{path}: architecture in the metadata"
    known = None if text is None else architecture_from_dict(parse_json(text, source), source)
    about = _trained_on(path, metadata, known)
    weights = Weights(str(path), layout, tensors, known, about, found.steps)
    for note in weights.steps:
        logger.info("%s: %s", path, note)
    return weights


def save_weights(
    network: Network,
    architecture: Architecture,
    path: Path | str,
    layout: Layout = "nas-search",
    trained_on: TrainedOn | None = None,
) -> None:
    """Write the weights of a network as safetensors, whole or not at all.

    Args:
        network: what :func:`nas.build` made of ``architecture``.
        architecture: written to the metadata, so that the file is enough to build the network.
        path: of the file.
        layout: the library whose names the tensors get.
        trained_on: written to the metadata too, so that images can be prepared the same way.

    Raises:
        InputError: the network is not of this architecture, or the file cannot be written.
    """
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if shapes != _shapes(architecture):
        raise InputError(f"{architecture.name}: the network is not of this architecture")
    metadata = {"format": "pt", "architecture": json.dumps(architecture.to_dict())}
    if trained_on is not None:
        metadata["trained_on"] = json.dumps(asdict(trained_on))
    write_tensors(Path(path), rename(tensors, architecture, layout), metadata)


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    import torch

    from nas.networks.modules import Network

    with torch.device("meta"):
        return {n: tuple(v.shape) for n, v in Network(architecture).state_dict().items()}


def _trained_on(
    path: Path, metadata: Mapping[str, str], known: Architecture | None
) -> TrainedOn | None:
    text = metadata.get("trained_on")
    if text is None:
        return None
    source = f"{path}: trained_on in the metadata"
    found = validate(_TRAINED_ON, parse_json(text, source), source)
    if known is not None:
        for key, have, wanted in (
            ("mean", len(found.mean), known.in_channels),
            ("std", len(found.std), known.in_channels),
            ("classes", len(found.classes), known.num_classes),
        ):
            if have != wanted:
                raise InputError(f"{source}: {key}: {have} values and not {wanted}")
    return found
