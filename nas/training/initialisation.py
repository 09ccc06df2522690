"""What a training begins with: the network as it will be used, its first weights, its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nas.data import ImageData
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.fast_convolution import fold_norms, lay_out
from nas.networks.modules import Network, build
from nas.networks.weights import CLASSIFIER, network_with
from nas.networks.weights_file import Weights, read_weights
from nas.seeding import derived_seed
from nas.training.distillation import Teacher

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of each channel."""

SMALLEST_MAP = 2
"""Pixels a side that the last feature map has at least, if the stem's stride can see to it."""


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        network: on the device, laid out for it.
        normalisation: how its images are normalised.
    """

    network: Network
    normalisation: Normalisation


def architecture_for(
    architecture: Architecture,
    channels: int,
    classes: int,
    resolution: int | None,
    stem_stride: int | None,
) -> Architecture:
    """Return the network that is trained: for the data's channels and classes, at a resolution.

    Args:
        architecture: as it was named.
        channels: of the images.
        classes: of the data.
        resolution: pixels; None: the architecture's own.
        stem_stride: None: the architecture's own, but 1 where images are so small that the last
            feature map would be a single point.
    """
    pixels = resolution or architecture.resolution
    stride = stem_stride or architecture.stem.stride
    if stem_stride is None and _last_map(architecture, pixels) < SMALLEST_MAP:
        stride = 1
    return replace(
        architecture,
        in_channels=channels,
        num_classes=classes,
        resolution=pixels,
        stem=replace(architecture.stem, stride=stride),
    )


def _last_map(architecture: Architecture, pixels: int) -> int:
    for stride in (architecture.stem.stride, *(stage.stride for stage in architecture.stages)):
        pixels = -(-pixels // stride)
    return pixels


def start(
    architecture: Architecture,
    data: ImageData,
    weights: Weights | None,
    *,
    stochastic_depth: float,
    seed: int,
    device: str,
) -> Start:
    """Return a network with its first weights: random ones by the seed, or those of a file.

    Images are normalised by their own mean and deviation, or as the weights were trained.

    Raises:
        InputError: the weights are not of this architecture, but for its classes, channels,
            resolution and the stem's stride.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights"))
        network = build(architecture, stochastic_depth=stochastic_depth, zero_init_residual=True)
        normalisation: Normalisation = data.mean, data.std
        if weights is not None:
            theirs = network_with(weights, architecture, transfer=True).state_dict()
            if weights.trained_on is not None and weights.trained_on.classes != data.classes:
                theirs |= {name: network.state_dict()[name] for name in CLASSIFIER}
            network.load_state_dict(theirs)
            normalisation = weights.normalisation(data.channels) or normalisation
    network.to(device)
    lay_out(network, device)
    return Start(network, normalisation)


def teacher(
    architecture: Architecture, file: Path, data: ImageData, temperature: float, device: str
) -> Teacher:
    """Return a trained network that teaches.

    Args:
        architecture: as it was named; what the file says of classes, channels, resolution and the
            stem's stride counts more.
        file: of its weights.
        data: whose classes it must know.
        temperature: of its answers.
        device: where.

    Raises:
        InputError: the weights are not the architecture's, or not of these classes and channels.
    """
    weights = read_weights(file)
    wanted = replace(architecture, in_channels=data.channels, num_classes=data.num_classes)
    known = weights.architecture
    if known is not None:
        for what, have, need in (
            ("classes", known.num_classes, data.num_classes),
            ("channels", known.in_channels, data.channels),
        ):
            if have != need:
                raise InputError(f"{file}: the teacher knows {have} {what}, {data.name} has {need}")
        wanted = replace(
            wanted,
            resolution=known.resolution,
            stem=replace(wanted.stem, stride=known.stem.stride),
        )
    trained_on = weights.trained_on
    if trained_on is not None and trained_on.classes != data.classes:
        raise InputError(
            f"{file}: the teacher's classes are {_named(trained_on.classes)}, "
            f"{data.name}'s are {_named(data.classes)}"
        )
    network = network_with(weights, wanted).eval().requires_grad_(False)
    fold_norms(network)
    network.to(device)
    lay_out(network, device)
    mean, std = weights.normalisation(data.channels) or (data.mean, data.std)
    pixels = wanted.resolution if trained_on is None else trained_on.resolution
    return Teacher(network, pixels, mean, std, temperature)


def _named(classes: Sequence[str]) -> str:
    return ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
