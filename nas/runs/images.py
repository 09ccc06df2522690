"""The images that a command trains on, and how many trainings can share them at once."""

from __future__ import annotations

from nas.data import ImageData
from nas.data.dataset import DEFAULT_OPTIONS, ImageOptions, channels_for, load_data
from nas.data.reading import DEFAULT_RESOLUTION
from nas.evaluation.local import default_jobs, jobs_that_fit
from nas.progress import Progress
from nas.spaces.search_space import SearchSpace


def load_shared_images(
    name: str | None,
    space: SearchSpace,
    jobs: int | None,
    device: str,
    progress: Progress,
    most: int = DEFAULT_RESOLUTION,
    options: ImageOptions = DEFAULT_OPTIONS,
) -> tuple[ImageData, int]:
    """Return images, and how many processes of this machine train on them at once.

    Args:
        name: of the images; None: the built-in ones.
        space: has the channels of the built-in images.
        jobs: how many were asked for; None: what suits the device.
        device: that torch trains on.
        progress: shows the images being read, and notes what was done to them.
        most: pixels a side that larger images are resized to.
        options: how the images are prepared and augmented.

    Raises:
        InputError: there are no images by that name, or they cannot be used.
    """
    data = load_data(name, channels_for(space, name), progress, progress.note, most, options)
    asked = jobs or default_jobs(device)
    return data, jobs_that_fit(asked, {"the images": data.nbytes}, progress.note)
