"""What a network can compute at its resolution: how far its kernels reach on its feature maps."""

from __future__ import annotations

from collections.abc import Hashable

from nas.networks.architecture import Architecture


def computed(architecture: Architecture) -> Hashable:
    """Return what is equal for networks that compute the same functions at their resolution.

    Of a kernel only the weights count that ever meet a pixel: on a feature map of n pixels a side,
    min(kernel, 2n - 1) of each side. On a single pixel all kernel sizes are the same.
    """
    size = -(-architecture.resolution // architecture.stem.stride)
    layers = []
    for layer in architecture.layers():
        layers.append(layer._replace(kernel=min(layer.kernel, 2 * size - 1)))
        size = -(-size // layer.stride)
    return (
        architecture.resolution,
        architecture.activation,
        architecture.padding,
        architecture.stem,
        tuple(layers),
        architecture.head.width,
    )
