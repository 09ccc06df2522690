"""Default settings of the proxies that train, by the data, the search space and the time."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nas.data import ImageData
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.proxies.supernet import SupernetProxy
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.training.supernet_trainer import SupernetSettings

FINAL_TIMES = 1.5
"""Training images of a finalist, relative to those of a candidate."""

GRID_RESOLUTION = 64
"""Pixels at which the grid trains the baseline.

Below that, a step of resolution makes no difference in a final feature map of 1 x 1.
"""

GRID_SHARE = 0.2
"""Training images of an evaluation in the grid, relative to those of one in the search …"""

GRID_LEAST = 4_000
"""… but at least so many: after less training all scaled networks are at chance level."""

_CHECKED = 0.25
"""Images of the intermediate validation of a short training, relative to its training images."""


def default_settings(data: ImageData, space: SearchSpace) -> TrainingSettings:
    """Return how the candidates of a search are trained where there is no limit on time.

    Each sees a third more images than the data has, but at least 4,000 and at most 20,000: then
    two cores train 30 candidates, and the grid after them, in half an hour.
    """
    return TrainingSettings(
        resolution=min(TrainingSettings.resolution, space.resolution),
        images_seen=max(4_000, min(20_000, len(data.train_labels) * 4 // 3)),
        flip="flip" in data.augment,
        shift="shift" in data.augment,
        augment=data.further_augmentation,
    )


def final_settings(settings: TrainingSettings) -> TrainingSettings:
    """Return how finalists are trained, given how candidates are: longer, never stopped early."""
    return replace(settings, images_seen=int(FINAL_TIMES * settings.images_seen), checks=())


def grid_settings(
    settings: TrainingSettings, space: SearchSpace, share: float | None = None
) -> TrainingSettings:
    """Return how scaled networks are trained, given how candidates are.

    Args:
        settings: of a candidate.
        space: the search space.
        share: training images relative to a candidate's; None: there is no limit on time.
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
    """Return what a grid costs, in trainings of a candidate on as many images.

    An image costs about five times as much for a scaled network as for a candidate: measured on
    two cores, 4.5 times for twice the pixels per side and twice the network, plus its validation.
    The first round trains all networks, the second half of them, the third a quarter.
    """
    return 5 * 1.75 * evaluations


def settings_for_work(data: ImageData, space: SearchSpace, images: float) -> TrainingSettings:
    """Return settings whose training and validation take as long as training on so many images.

    A short training is validated on at most as many images as it was trained on. An image costs a
    third as much to validate as to train on.
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
    """Return training images per second of a candidate, measured on this machine in one thread.

    The candidate has the middle value of every choice.
    """
    middle = space.decode({name: v[len(v) // 2] for name, v in space.choices.items()})
    settings = default_settings(data, space)
    settings = replace(settings, images_seen=384, validation_images=64, checks=())
    proxy = TrainingProxy(data, settings, device)
    proxy.prepare(space, Budget("none"), Path())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in each of several parallel processes
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
    """Return how a candidate is trained in so many seconds; None: there is no limit on time."""
    if seconds is None:
        return default_settings(data, space)
    return settings_for_work(data, space, seconds * training_speed(data, space, device))


def supernet_settings(
    data: ImageData, space: SearchSpace, seconds: float | None, device: str
) -> SupernetSettings:
    """Return how a supernet is trained in about so many seconds; None: there is no limit on time.

    Without a limit it sees 150,000 images, or 60 times the images of the data if these are fewer.
    The resolution leaves the last feature map two pixels per side, if that of the space suffices:
    on a single pixel the kernel size makes no difference, and late stages little. Where this needs
    more pixels than the default, the width is halved in return.
    """
    stride = math.prod([space.stem.stride, *(stage.stride for stage in space.stages)])
    resolution = min(space.resolution, max(SupernetSettings.resolution, 2 * stride))
    settings = SupernetSettings(
        width=SupernetSettings.width * (1 if resolution <= SupernetSettings.resolution else 0.5),
        resolution=resolution,
        images_seen=max(10_000, min(150_000, 60 * len(data.train_labels))),
        flip="flip" in data.augment,
        shift="shift" in data.augment,
        augment=data.further_augmentation,
    )
    if seconds is None:
        return settings
    speed = _supernet_speed(data, space, settings, device)
    return replace(settings, images_seen=int(max(1_000, min(3_000_000, 0.95 * seconds * speed))))


def _supernet_speed(
    data: ImageData, space: SearchSpace, settings: SupernetSettings, device: str
) -> float:
    """Return training images per second of random networks, in as many threads as torch uses."""
    start = 0.0
    for steps in (4, 16):  # the first steps are slow
        count = steps * settings.batch_size * settings.paths
        proxy = SupernetProxy(data, replace(settings, images_seen=count), device)
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            proxy.prepare(space, Budget("none"), Path(folder))
    return count / (time.perf_counter() - start)
