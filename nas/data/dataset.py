"""Images for a command: a user's or the built-in ones, remembered once they are prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas.data import BUILT_IN, ImageData, load_images
from nas.data.load import DEFAULT_RESOLUTION
from nas.environment import cache_folder
from nas.progress import Progress
from nas.spaces.search_space import SearchSpace


def load_data(
    name: str | None,
    channels: int,
    progress: Progress,
    note: Callable[[str], None],
    most: int = DEFAULT_RESOLUTION,
) -> ImageData:
    """Return a user's images, or with no name the built-in ones; prepared ones are remembered.

    Args:
        name: of the images; None: the built-in ones.
        channels: of the images: 1 (grey) or 3; see :func:`channels_for`.
        progress: shows how many are read.
        note: is told what was done to them.
        most: pixels that images which differ in size, or are larger, are resized to: so many as
            are looked at.

    Raises:
        InputError: there are none by that name, or they cannot be used.
    """
    progress.phase(f"load {name or BUILT_IN}", None)
    data = load_images(
        name or BUILT_IN,
        channels=channels,
        most=most,
        cache=_data_cache(),
        progress=lambda done, total: progress.advance(done, f"of {total:,} images"),
    )
    for text in data.notes:
        note(f"{data.name}: {text}")
    return data


def channels_for(space: SearchSpace, name: str | None) -> int:
    """Return the channels that images of a search have: a user's are in colour, whatever the space.

    The space takes on the channels of a user's images; the built-in ones take on the space's.
    """
    return space.in_channels if name is None else 3


def _data_cache() -> Path:
    return cache_folder() / "data"
