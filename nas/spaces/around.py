"""Search spaces around a network: its own choices, and what is smaller."""

from __future__ import annotations

from collections.abc import Sequence

from nas.networks.architecture import Architecture, Stage
from nas.spaces.search_space import SearchSpace, StageSpace

LEAST_RESOLUTION = 64
"""Pixels, in a space around a network."""


def space_around(
    source: Architecture, name: str, resolutions: Sequence[int] | None = None
) -> SearchSpace:
    """Return the space of what can be cut out of a network.

    Activation, norm, padding, widths and squeeze-excite are the network's own. Kernels, expansions,
    layers and resolutions are choices, up to its own.

    Args:
        source: the network.
        name: of the space.
        resolutions: pixels to choose from; None: the network's own, and down to about half of them
            in steps of a seventh (224, 192, 160, 128).
    """
    pixels = tuple(resolutions or _resolutions(source.resolution))
    return SearchSpace(
        name=name,
        source=f"what can be cut out of {source.name}",
        resolution=max(pixels),
        resolutions=pixels if len(pixels) > 1 else (),
        in_channels=source.in_channels,
        num_classes=source.num_classes,
        activation=source.activation,
        norm=source.norm,
        padding=source.padding,
        stem=source.stem,
        head=source.head,
        stages=tuple(_stage(stage) for stage in source.canonical().stages),
    )


def _resolutions(most: int) -> list[int]:
    step = 8 * max(1, round(most / 7 / 8))
    return sorted(
        pixels for pixels in range(most, 0, -step) if pixels >= max(LEAST_RESOLUTION, most / 2)
    ) or [most]


def _stage(stage: Stage) -> StageSpace:
    kernels = tuple(range(min(3, stage.kernel), stage.kernel + 1, 2))
    own = stage.expansion
    expansions = (own,) if own == 1 else tuple(sorted({max(2, own // 2), -(-own * 2 // 3), own}))
    layers = tuple(range(1, stage.layers + 1))
    listed = {"kernel": kernels, "expansion": expansions, "layers": layers}
    return StageSpace(
        stride=stage.stride,
        layers=layers,
        width=(stage.width,),
        op=(stage.op,),
        kernel=() if stage.op == "skip" else kernels,
        expansion=() if stage.op == "skip" else expansions,
        se_ratio=(stage.se_ratio,),
        listed=frozenset(
            name for name, values in listed.items() if len(values) > 1 and stage.op != "skip"
        ),
    )
