"""Images for a command: a user's or the built-in ones, remembered once they are prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nas.data import BUILT_IN, ImageData, load_images
from nas.data.augmentation import augmentation_notes, parse_augmentation
from nas.data.decode import check_fit
from nas.data.load import MAX_PIXELS
from nas.data.reading import DEFAULT_RESOLUTION
from nas.environment import cache_folder
from nas.errors import check_range
from nas.progress import Progress
from nas.spaces.search_space import SearchSpace


@dataclass(frozen=True)
class ImageOptions:
    """What a user may say of the images.

    Attributes:
        fit: how an image that is not square becomes one: ``crop``, ``pad`` or ``squeeze``.
        augment: augmentations of training images, such as ``flip,color`` or ``none``; None: flips
            and shifts, and shifts alone for the built-in images.
        max_pixels: larger images are refused; None: Pillow's limit.
        hold_out: where the data have no test images, take some from the training images.
        groups: column of the data, or ``folder``: images that are held out together or not at all;
            None: each by itself.

    Raises:
        InputError: a value is not accepted.
    """

    fit: str = "crop"
    augment: str | None = None
    max_pixels: int | None = None
    hold_out: bool = True
    groups: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is not accepted."""
        check_fit(self.fit)
        if self.augment is not None:
            parse_augmentation(self.augment)
        check_range("max-pixels", self.max_pixels, *MAX_PIXELS)


DEFAULT_OPTIONS = ImageOptions()


def load_data(
    name: str | None,
    channels: int,
    progress: Progress,
    note: Callable[[str], None],
    most: int = DEFAULT_RESOLUTION,
    options: ImageOptions = DEFAULT_OPTIONS,
) -> ImageData:
    """Return a user's images, or with no name the built-in ones; prepared ones are remembered.

    Args:
        name: of the images; None: the built-in ones.
        channels: of the images: 1 (grey) or 3; see :func:`channels_for`.
        progress: shows how many are read.
        note: is told what was done to them.
        most: pixels that images which differ in size, or are larger, are resized to: so many as
            are looked at.
        options: what the user says of them.

    Raises:
        InputError: there are none by that name, or they cannot be used.
    """
    progress.phase(f"load {name or BUILT_IN}", None)
    data = load_images(
        name or BUILT_IN,
        channels=channels,
        most=most,
        fit=options.fit,
        max_pixels=options.max_pixels,
        hold_out=options.hold_out,
        groups=options.groups,
        cache=_data_cache(),
        progress=lambda done, total: progress.advance(done, f"of {total:,} images"),
    )
    chosen = data.augment if options.augment is None else parse_augmentation(options.augment)
    data = replace(data, augment=chosen)
    more = [] if name is None else augmentation_notes(chosen, data.classes)
    for text in (*data.notes, *more):
        note(f"{data.name}: {text}")
    return data


def channels_for(space: SearchSpace, name: str | None) -> int:
    """Return the channels that images of a search have: a user's are in colour, whatever the space.

    The space takes on the channels of a user's images; the built-in ones take on the space's.
    """
    return space.in_channels if name is None else 3


def _data_cache() -> Path:
    return cache_folder() / "data"
