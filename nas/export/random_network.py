"""Random weights and images with which every layer of a network has an effect on the logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.networks.architecture import Architecture
from nas.networks.modules import Network, build
from nas.seeding import derived_seed

_PIXELS = 400_000
"""Batch norm's statistics are measured on about this many pixels, in 4 to 64 images."""


def random_network(architecture: Architecture, seed: int) -> Network:
    """Return the architecture's network with random weights, in eval mode; see :func:`randomise`.

    The first :func:`random_images` of the same seed are among those that batch norm's statistics
    are measured on: deep random networks amplify whatever is unlike them.
    """
    # At the network's own resolution: a padded 5×5 covers less of a 2×2 grid than of a 7×7 one.
    size = architecture.resolution
    batch = max(4, min(64, _PIXELS // size**2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights"))
        network = build(architecture)
        randomise(network, random_images((batch, architecture.in_channels, size, size), seed))
    return network


def random_images(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return images (batch, channels, height, width) of large patches of noise, with fine noise.

    Images of fine noise alone all have nearly the same mean in each channel, and so nearly the same
    logits. An image depends on the seed, its index and its size, not on the size of the batch.
    """
    images = []
    for index in range(shape[0]):
        generator = torch.Generator().manual_seed(derived_seed(seed, "image", index))
        patches = torch.randn((1, shape[1], 4, 4), generator=generator)
        coarse = nn.functional.interpolate(patches, size=shape[2:], mode="bilinear")
        images.append(coarse + 0.5 * torch.randn((1, *shape[1:]), generator=generator))
    return torch.cat(images)


def randomise(network: nn.Module, images: Tensor) -> None:
    """Give a network random parameters where they begin as zeros or ones; leave it in eval mode.

    Batch norm's scales and shifts become random. Its statistics become those of the images, so that
    signals neither vanish nor explode at any depth. No variance is set below the layer's mean one:
    a channel that hardly varied on these images would otherwise dominate on the next ones, and the
    logits would lose their precision.
    """

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance.clamp(min=variance.mean().item()))

    hooks = []
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0.0, 0.2)
                hooks.append(module.register_forward_pre_hook(measure))
            elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.normal_(0.0, 0.2)
        network.eval()(images)
    for hook in hooks:
        hook.remove()
