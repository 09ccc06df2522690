"""How networks are trained by default, given the data, the space and the time."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nas.data import BUILT_IN, ImageData
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.proxies.supernet import SupernetProxy
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.training.supernet_trainer import SupernetSettings

FINAL_TIMES = 1.5
"""Training images of a finalist, over those of a candidate."""


GRID_RESOLUTION = 64
"""Pixels of the grid's baseline: below, a step of resolution is lost in a final map of 1 x 1."""


GRID_SHARE = 0.2
"""Training images of an evaluation in the grid, over those of one in the search …"""


GRID_LEAST = 4_000
"""… but not fewer than these: after less training all scaled networks are at chance."""


_CHECKED = 0.25
"""Of the images of a short training, so many validate it on the way."""


def default_settings(data: ImageData, space: SearchSpace) -> TrainingSettings:
    """Return how candidates of a search are trained on data of this size, with no limit on time.

    A third more images than there are, but not more than 20,000: then two cores do 30 candidates,
    and the grid after them, in half an hour.
    """
    return TrainingSettings(
        resolution=min(TrainingSettings.resolution, space.resolution),
        images_seen=max(4_000, min(20_000, len(data.train_labels) * 4 // 3)),
        flip=data.name != BUILT_IN,
    )


def final_settings(settings: TrainingSettings) -> TrainingSettings:
    """Return how finalists are trained, given how candidates are: longer, and to the end."""
    return replace(settings, images_seen=int(FINAL_TIMES * settings.images_seen), checks=())


def grid_settings(
    settings: TrainingSettings, space: SearchSpace, share: float | None = None
) -> TrainingSettings:
    """Return how scaled networks are trained, given how candidates are.

    ``share`` of a candidate's training images; None: where no time is given.
    """
    if share is None:
        share = max(GRID_SHARE, min(1.0, GRID_LEAST / settings.images_seen))
    return replace(
        settings,
        resolution=min(GRID_RESOLUTION, space.resolution),
        images_seen=max(256, int(settings.images_seen * share)),
        validation_images=min(settings.validation_images, 2_000),
    )


def grid_work(evaluations: int) -> float:
    """Return what a grid costs, in candidates' trainings of as many images.

    An image costs a scaled network about five times what it costs a candidate: measured on two
    cores, four and a half for twice the pixels a side and twice the network, and its validation.
    The first round trains all, the second half of them, the third a quarter.
    """
    return 5 * 1.75 * evaluations


def settings_for_work(data: ImageData, space: SearchSpace, images: float) -> TrainingSettings:
    """Return settings that train a candidate in the time in which so many images are trained on.

    A short training is validated on no more images than it was trained on; an image costs a third
    there.
    """
    settings = default_settings(data, space)
    validated = (settings.validation_images + settings.check_images) / 3
    share = 1 + (1 + _CHECKED) / 3
    images_seen = min(0.85 * images, max(0.95 * images - validated, 0.95 * images / share))
    images_seen = int(max(256, min(200_000, images_seen)))
    return replace(
        settings,
        images_seen=images_seen,
        validation_images=min(settings.validation_images, images_seen),
        check_images=min(settings.check_images, int(_CHECKED * images_seen)),
    )


def training_speed(data: ImageData, space: SearchSpace, device: str) -> float:
    """Return training images a second of a candidate, measured on this machine, with one thread.

    The candidate is the space's middle: a network of every choice's middle value.
    """
    middle = space.decode({name: v[len(v) // 2] for name, v in space.choices.items()})
    settings = default_settings(data, space)
    settings = replace(settings, images_seen=384, validation_images=64, checks=())
    proxy = TrainingProxy(data, settings, device)
    proxy.prepare(space, Budget("none"), Path())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in parallel processes; more than one wait for others' work
    try:
        proxy.evaluate(middle, seed=0, report=lambda step, value: False)
        start = time.perf_counter()
        proxy.evaluate(middle, seed=0, report=lambda step, value: False)
    finally:
        torch.set_num_threads(threads)
    return settings.images_seen / (time.perf_counter() - start)


def training_settings(
    data: ImageData, space: SearchSpace, seconds: float | None, device: str
) -> TrainingSettings:
    """Return settings for so many seconds a candidate, or None: with no limit on time."""
    if seconds is None:
        return default_settings(data, space)
    return settings_for_work(data, space, seconds * training_speed(data, space, device))


def supernet_settings(
    data: ImageData, space: SearchSpace, seconds: float | None, device: str
) -> SupernetSettings:
    """Return how a supernet is trained: in about ``seconds``, or None: with no limit on time.

    Without one, for 150,000 images, or 60 times those there are if these are less. So many pixels
    that the last map has two a side, where the space has as many: on a single one, kernels do
    nothing and late stages little. Images that are larger for it pay with the networks' width.
    """
    stride = math.prod([space.stem.stride, *(stage.stride for stage in space.stages)])
    resolution = min(space.resolution, max(SupernetSettings.resolution, 2 * stride))
    settings = SupernetSettings(
        width=SupernetSettings.width * (1 if resolution <= SupernetSettings.resolution else 0.5),
        resolution=resolution,
        images_seen=max(10_000, min(150_000, 60 * len(data.train_labels))),
        flip=data.name != BUILT_IN,
    )
    if seconds is None:
        return settings
    speed = _supernet_speed(data, space, settings, device)
    return replace(settings, images_seen=int(max(1_000, min(3_000_000, 0.95 * seconds * speed))))


def _supernet_speed(
    data: ImageData, space: SearchSpace, settings: SupernetSettings, device: str
) -> float:
    """Return training images a second of random networks, with all the threads there are."""
    start = 0.0
    for steps in (4, 16):  # the first steps are slow
        count = steps * settings.batch_size * settings.paths
        proxy = SupernetProxy(data, replace(settings, images_seen=count), device)
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            proxy.prepare(space, Budget("none"), Path(folder))
    return count / (time.perf_counter() - start)
