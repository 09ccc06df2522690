"""Networks that begin with trained weights of others: weights, gates and statistics on images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.data import preprocess
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.inherit import inherited
from nas.networks.modules import Network, SqueezeExcite, build
from nas.networks.pretrained import Normalisation, Pretrained, load_pretrained
from nas.networks.weights_file import IMAGENET
from nas.seeding import derived_seed
from nas.training.batches import fixed_sample
from nas.training.random_numbers import isolated_rng

MEASURED_IMAGES = 512
"""Gates and batch norms are measured on so many images at most."""

MEASURED_BATCH = 64

SETTLED = 20
"""Running statistics are the mean over the last 1 / momentum steps: a training has at least so many
of these."""


def inherit(
    weights: Pretrained | Path | str,
    architecture: Architecture,
    images: Tensor | None = None,
    *,
    seed: int = 0,
) -> Network:
    """Return a network that begins with the trained weights of another one.

    What both networks have is copied, and the rest is chosen so that the function changes as little
    as it can: see :func:`nas.networks.inherit.inherited`. The classifier is copied where the number
    of classes is the same, and newly initialised otherwise.

    Args:
        weights: a file, ``timm:NAME``, ``torchvision:NAME``, or what
            :func:`nas.networks.pretrained.load_pretrained` returned.
        architecture: of the network.
        images: uint8 (n, channels, h, w), of those that the network is for: the mean gates of
            squeeze-excite modules that are not kept, and the statistics of all batch norms, are
            measured on at most :data:`MEASURED_IMAGES` of them. None: nothing is measured.
        seed: of the weights that are new.

    Returns:
        The network, in evaluation mode.

    Raises:
        InputError: the weights cannot be read, or the images have another number of channels.
    """
    source = (
        weights if isinstance(weights, Pretrained) else load_pretrained(weights, None, architecture)
    )
    with isolated_rng("cpu", derived_seed(seed, "weights")):
        network = build(architecture, zero_init_residual=True)
        channels = architecture.in_channels
        normalisation = source.normalisation(channels) or default_normalisation(channels)
        inherit_into(network, architecture, source, images, normalisation)
    return network.eval()


def inherit_into(
    network: Network,
    architecture: Architecture,
    source: Pretrained,
    images: Tensor | None,
    normalisation: Normalisation,
    *,
    ordered: bool = False,
) -> None:
    """Replace the new weights of a network by those that it inherits.

    Args:
        network: newly initialised, on the CPU, its residual branches at zero.
        architecture: of the network.
        source: trained weights.
        images: see :func:`inherit`.
        normalisation: of the images, as the network is trained with.
        ordered: sort all channels by their importance.
    """
    channels, classes = architecture.in_channels, architecture.num_classes
    if images is not None and images.shape[1] != channels:
        raise InputError(f"images: {images.shape[1]} channels, the network has {channels}")
    known = replace(source.architecture, in_channels=channels, num_classes=classes)
    giver = source.network(channels, classes)
    same = _same_network(known, architecture)
    inputs = None
    if images is not None and not same:
        sample = images[fixed_sample(len(images), MEASURED_IMAGES)].cpu()
        inputs = preprocess(sample, architecture.resolution, *normalisation)
    gates = {} if inputs is None else measure_gates(giver, inputs)
    tensors = inherited(
        giver.state_dict(), known, architecture, network.state_dict(), gates, ordered=ordered
    )
    network.load_state_dict(tensors)
    if inputs is not None:
        measure_norms(network, inputs)


def default_normalisation(channels: int) -> Normalisation:
    """Return ImageNet's normalisation, or the mean of its channels for other images."""
    mean, std = IMAGENET
    if channels == len(mean):
        return IMAGENET
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels


def _same_network(one: Architecture, other: Architecture) -> bool:
    """Return whether two networks differ in nothing that weights are rearranged for."""
    stem = replace(one.stem, stride=other.stem.stride)
    return (
        replace(one, stem=stem, resolution=other.resolution).key()
        == replace(other, head=replace(other.head, dropout=one.head.dropout)).key()
    )


@torch.no_grad()
def measure_gates(network: Network, inputs: Tensor) -> dict[str, Tensor]:
    """Return the mean gate of every channel of every squeeze-excite module, by its name.

    Args:
        network: whose gates are measured; it is left in evaluation mode.
        inputs: preprocessed images.
    """
    sums: dict[str, Tensor] = {}
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, SqueezeExcite):

            def add(_: nn.Module, __: object, logits: Tensor, name: str = name) -> None:
                total = logits.sigmoid().sum((0, 2, 3))
                sums[name] = sums[name] + total if name in sums else total

            hooks.append(module.expand.register_forward_hook(add))
    network.eval()
    for batch in inputs.split(MEASURED_BATCH) if hooks else ():
        network(batch)
    for hook in hooks:
        hook.remove()
    return {name: total / len(inputs) for name, total in sums.items()}


@torch.no_grad()
def measure_norms(network: nn.Module, inputs: Tensor) -> None:
    """Set the statistics of all batch norms to the means over some batches.

    Args:
        network: whose batch norms are measured; it is left in evaluation mode.
        inputs: preprocessed images.
    """
    batches = [batch for batch in inputs.split(MEASURED_BATCH) if len(batch) > 1]
    with _averaging(network):
        network.train()
        for batch in batches:
            network(batch)
    network.eval()


def suit_momentum(network: nn.Module, steps: int) -> None:
    """Raise the momentum of batch norms that a training of so many steps would not bring home.

    With a momentum of 0.01, which many published networks have, running statistics are still those
    of the first weights after a hundred steps, and the network is scored with them.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum is not None:
            module.momentum = max(module.momentum, min(0.1, SETTLED / steps))


@contextmanager
def _averaging(network: nn.Module) -> Iterator[None]:
    """Let the batch norms of a network begin anew, and average over all batches alike."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
