"""What a training begins with: the network that is trained, its initial weights, its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.data import ImageData
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.fast_convolution import fold_norms, lay_out
from nas.networks.modules import Network, build
from nas.networks.pretrained import Normalisation, Pretrained
from nas.networks.weights import CLASSIFIER, network_with
from nas.networks.weights_file import read_weights
from nas.seeding import derived_seed
from nas.training.distillation import Teacher
from nas.training.inheritance import inherit_into
from nas.training.random_numbers import isolated_rng

MIN_FINAL_MAP = 2
"""Pixels a side of the last feature map below which the stem's stride becomes 1."""


@dataclass(frozen=True)
class Initialisation:
    """What a training begins with.

    Attributes:
        network: with its initial weights, on the device, in the memory format of it.
        normalisation: of its images.
    """

    network: Network
    normalisation: Normalisation


def adapt_architecture(
    architecture: Architecture,
    channels: int,
    classes: int,
    resolution: int | None,
    stem_stride: int | None,
) -> Architecture:
    """Return the architecture that is trained: for the channels and classes of the data.

    Args:
        architecture: what the user named.
        channels: of the images.
        classes: number of classes of the data.
        resolution: pixels; None: that of the architecture.
        stem_stride: None: that of the architecture, but 1 where images are so small that the last
            feature map would be a single pixel.
    """
    pixels = resolution or architecture.resolution
    stride = stem_stride or architecture.stem.stride
    if stem_stride is None and _final_map(architecture, pixels) < MIN_FINAL_MAP:
        stride = 1
    return replace(
        architecture,
        in_channels=channels,
        num_classes=classes,
        resolution=pixels,
        stem=replace(architecture.stem, stride=stride),
    )


def _final_map(architecture: Architecture, pixels: int) -> int:
    """Return the pixels a side of the last feature map."""
    for stride in (architecture.stem.stride, *(stage.stride for stage in architecture.stages)):
        pixels = -(-pixels // stride)
    return pixels


def initialise(
    architecture: Architecture,
    data: ImageData,
    weights: Pretrained | None,
    *,
    stochastic_depth: float,
    seed: int,
    device: str,
) -> Initialisation:
    """Return a network with its initial weights: random ones, or inherited from trained ones.

    Images are normalised by their own mean and standard deviation, or as those that the weights
    were trained on. A trained classifier is used only if its classes are those of the data.

    Args:
        architecture: as :func:`adapt_architecture` returns it.
        data: the images to train on.
        weights: trained weights, of this network or of another; None: random weights.
        stochastic_depth: probability that the last block is dropped in training.
        seed: of the random weights.
        device: where to train.
    """
    with isolated_rng("cpu", derived_seed(seed, "weights")):
        network = build(architecture, stochastic_depth=stochastic_depth, zero_init_residual=True)
        normalisation: Normalisation = data.mean, data.std
        if weights is not None:
            fresh = {name: network.state_dict()[name].clone() for name in CLASSIFIER}
            normalisation = weights.normalisation(data.channels) or normalisation
            inherit_into(network, architecture, weights, data.train_images, normalisation)
            if weights.classes is not None and weights.classes != data.classes:
                network.load_state_dict(network.state_dict() | fresh)
    network.train()
    network.to(device)
    lay_out(network, device)
    return Initialisation(network, normalisation)


def load_teacher(
    architecture: Architecture, file: Path, data: ImageData, temperature: float, device: str
) -> Teacher:
    """Return a teacher with the weights of a file.

    Args:
        architecture: what the user named; classes, channels, resolution and the stride of the stem
            are those that the file names, if it does.
        file: of its weights.
        data: images to train on; the teacher must have their classes.
        temperature: divides its logits.
        device: where to train.

    Raises:
        InputError: the weights are not of this architecture, or for other classes or channels.
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
                raise InputError(f"{file}: the teacher has {have} {what}, {data.name} has {need}")
        wanted = replace(
            wanted,
            resolution=known.resolution,
            stem=replace(wanted.stem, stride=known.stem.stride),
        )
    trained_on = weights.trained_on
    if trained_on is not None and trained_on.classes != data.classes:
        raise InputError(
            f"{file}: the teacher's classes are {_listed(trained_on.classes)}, "
            f"{data.name}'s are {_listed(data.classes)}"
        )
    network = network_with(weights, wanted).eval().requires_grad_(False)
    fold_norms(network)
    network.to(device)
    lay_out(network, device)
    mean, std = weights.normalisation(data.channels) or (data.mean, data.std)
    pixels = wanted.resolution if trained_on is None else trained_on.resolution
    return Teacher(network, pixels, mean, std, temperature)


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
