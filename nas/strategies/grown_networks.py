"""The networks whose trainings say what growth is worth: a small network, grown along a design."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from nas.networks.architecture import Architecture
from nas.networks.scaled_family import ScaledMember, scaled_member
from nas.networks.scaling_direction import Direction
from nas.networks.small_base import PIXELS, small_base
from nas.strategies.scaling_design import DOUBLINGS, design_directions

LEAST_PIXELS = 20
"""A side of the smallest images on which resolution is grown."""


@dataclass(frozen=True)
class GrownNetwork:
    """A small network that has grown.

    Attributes:
        direction: in which.
        architecture: itself.
        flops: that it has.
        growth: over the small network, in log FLOPs of depth, width and resolution, as realised.
    """

    direction: Direction
    architecture: Architecture
    flops: int
    growth: tuple[float, float, float]

    @classmethod
    def of(cls, member: ScaledMember, direction: Direction) -> GrownNetwork:
        """Return a scaled network as a grown one."""
        shares = (direction if member.shares is None else member.shares).shares().values()
        depth, width, resolution = (math.log(member.ratio) * share for share in shares)
        return cls(direction, member.architecture, member.flops, (depth, width, resolution))


def grown_networks(
    baseline: Architecture,
    flops: float,
    pixels: int,
    with_resolution: bool,
    channels: int,
    classes: int,
) -> list[GrownNetwork]:
    """Return the networks of the design, each about eight times a small one.

    Args:
        baseline: what the small network stands for.
        flops: of the small network, about.
        pixels: a side of its images.
        with_resolution: whether resolution grows, too.
        channels: of the images.
        classes: number of classes.

    Raises:
        InputError: the baseline cannot grow so far in a direction.
    """
    small = small_base(baseline, flops, pixels, channels, classes)
    return [grown(small, direction, DOUBLINGS) for direction in design_directions(with_resolution)]


def grown(small: Architecture, direction: Direction, doublings: float) -> GrownNetwork:
    """Return a small network grown in a direction.

    Dropout is left out: after short trainings it would only hide what large networks gain.

    Raises:
        InputError: it cannot grow so far.
    """
    name = f"{small.name[:150]}-" + "-".join(
        f"{share:.2f}" for share in direction.shares().values()
    )
    member = scaled_member(small, direction, doublings, name=name)
    network = member.architecture
    plain = replace(network, head=replace(network.head, dropout=0.0))
    return GrownNetwork.of(replace(member, architecture=plain), direction)


def pixels_for(image_resolution: int, space_resolution: int) -> tuple[int, bool]:
    """Return pixels a side of the small network's images, and whether resolution can grow.

    It can where the images have the pixels that resolution alone needs.

    Args:
        image_resolution: pixels a side of the images.
        space_resolution: of the search space.
    """
    most = min(PIXELS, space_resolution)
    room = 2 * math.floor(image_resolution / math.sqrt(2.0**DOUBLINGS) / 2)
    if room >= LEAST_PIXELS:
        return min(most, room), True
    return min(most, image_resolution), False
