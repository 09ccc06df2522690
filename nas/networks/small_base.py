"""The small network that stands for a baseline where the gains of growth are measured.

Networks that have grown eight times from a baseline cost too much to be trained a dozen times. A
network of the same stages is taken instead: fewer layers, narrower, and with fewer pixels. Its last
strides are dropped until its last feature map has several pixels; on a single one, kernels do
nothing and layers little. (Without the first strides a network of equal FLOPs trains 2 to 4 times
slower on CPUs: its maps are large and its widths small.)
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace

import numpy as np

from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost

LAST_MAP = 4
"""Pixels a side of the last feature map, at least."""

PIXELS = 32
"""Pixels a side of a small base, at most: then images of 92 suffice to grow resolution alone 8
times."""

_DIVISOR = 2
_NARROWEST = 4
_FACTORS: list[float] = np.geomspace(0.02, 1.0, 200).tolist()


def small_base(
    baseline: Architecture, flops: float, pixels: int, channels: int, classes: int
) -> Architecture:
    """Return a small network with the stages of a baseline.

    Half the layers of each stage, rounded up, and widths in proportion, in steps of 2.

    Args:
        baseline: what it stands for.
        flops: the widths are those with which its FLOPs are nearest to so many; no width exceeds
            the baseline's.
        pixels: a side of its images.
        channels: of the images.
        classes: number of classes.
    """
    network = replace(
        without_late_strides(baseline, pixels),
        name=f"{baseline.name[:150]}-small",
        resolution=pixels,
        in_channels=channels,
        num_classes=classes,
    )
    network = replace(
        network,
        stages=tuple(
            replace(stage, layers=math.ceil(stage.layers / 2)) for stage in network.stages
        ),
    )
    # FLOPs rise with the factor.
    place = bisect_left(
        _FACTORS, flops, key=lambda factor: measure_cost(_narrowed(network, factor)).flops
    )
    near = [_narrowed(network, factor) for factor in _FACTORS[max(0, place - 1) : place + 1]]
    return min(near, key=lambda one: abs(math.log(measure_cost(one).flops / flops)))


def without_late_strides(network: Architecture, pixels: int) -> Architecture:
    """Return a network whose last strides are 1, so many that its last map is large enough."""
    strides = [network.stem.stride, *(stage.stride for stage in network.stages)]
    for place in reversed(range(len(strides))):
        if math.ceil(pixels / math.prod(strides)) >= LAST_MAP:
            break
        strides[place] = 1
    return replace(
        network,
        stem=replace(network.stem, stride=strides[0]),
        stages=tuple(
            replace(stage, stride=stride)
            for stage, stride in zip(network.stages, strides[1:], strict=True)
        ),
    )


def _narrowed(network: Architecture, factor: float) -> Architecture:
    def width(own: int) -> int:
        return min(own, max(_NARROWEST, _DIVISOR * round(own * factor / _DIVISOR)))

    return replace(
        network,
        stem=replace(network.stem, width=width(network.stem.width)),
        stages=tuple(replace(stage, width=width(stage.width)) for stage in network.stages),
        head=replace(network.head, width=width(network.head.width)),
    )
