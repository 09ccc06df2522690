"""The state of a run on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from nas.errors import InputError
from nas.files import digest
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace


def known_space(
    command: Mapping[str, Any], known_by: str, images: tuple[int, int] | None
) -> SearchSpace | None:
    """Return the search space of a run as it had it, or None where it is not known here.

    Args:
        command: the run's, whose words name the space.
        known_by: what the run's identity says of the space.
        images: channels and classes of the images that it searched on; None: on none.
    """
    name, pixels = (command.get(key) for key in ("space", "resolution"))
    try:
        space = load_space(str(name))
    except InputError:
        return None
    if pixels is not None:
        space = replace(space, resolution=pixels)
    if images is not None:
        space = replace(space, in_channels=images[0], num_classes=images[1])
    return space if digest(asdict(space)) == known_by else None
