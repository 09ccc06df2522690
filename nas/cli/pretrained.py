"""Trained weights as options name them, and the space of what can be cut out of their network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import InputError
from nas.files import slug
from nas.spaces.registry import load_architecture, load_space

if TYPE_CHECKING:
    from nas.networks.pretrained import Pretrained
    from nas.spaces.search_space import SearchSpace

DEFAULT_SPACE = "efficientnet"


def pretrained(weights: str | None, architecture: str | None) -> Pretrained | None:
    """Return the weights that ``--weights`` and ``--weights-arch`` name; None: there are none.

    Raises:
        InputError: they cannot be read, or the network is named without weights.
    """
    from nas.networks.pretrained import load_pretrained

    if weights is None:
        if architecture is not None:
            raise InputError("--weights-arch needs --weights")
        return None
    return load_pretrained(
        weights, None if architecture is None else load_architecture(architecture)
    )


def space_for(
    name: str | None, weights: Pretrained | None, resolution: int | None
) -> tuple[SearchSpace, bool]:
    """Return the search space that options mean, and whether it was made around the weights.

    Args:
        name: of the space, or its file; None: what can be cut out of the network of the weights,
            or the default one where there are none.
        weights: trained weights, if there are some.
        resolution: pixels; None: those of the space.

    Raises:
        InputError: there is no such space, or the resolution is not accepted.
    """
    from nas.spaces.around import space_around

    made = name is None and weights is not None
    if made:
        assert weights is not None
        space = space_around(weights.architecture, f"around-{slug(weights.architecture.name)}")
    else:
        space = load_space(name or DEFAULT_SPACE)
    if resolution is None:
        return space, made
    if not 1 <= resolution <= 16_384:
        raise InputError(f"resolution: {resolution} is not accepted: 1 to 16384 pixels")
    return space.at_resolution(resolution), made
