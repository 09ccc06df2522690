"""Default settings of the proxies that train, by the data, the search space and the time."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nas.data import ImageData
from nas.networks.architecture import Architecture
from nas.proxies.reduction import BY_DEFAULT, Reduction
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.proxies.supernet import SupernetProxy
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.training.supernet_trainer import SupernetSettings

FINAL_TIMES = 1.5
"""Training images of a finalist, relative to those of a candidate."""

GROWN_FLOPS = 2e6
"""Of the small network whose growth is measured: eight times as many then take two cores about as
long as a candidate of a search."""

GROWN_IMAGES = 15_000
"""Training images of a grown network: then two cores train the design in less than 15 minutes …"""

GROWN_LENGTHS = (1 / 3, 1.0)
"""… and the lengths of its trainings, relative to them. (After 3,000 images of CIFAR-10 all are at
chance level.)"""

GROWN_VALIDATION = 3_000
"""Validation images of a grown network."""

GROWN_BATCH, GROWN_RATE = 32, 2e-3
"""Of the trainings of grown networks: so short, more and smaller steps reach more."""

SCALED_RESOLUTION = 64
"""Pixels at which a baseline is trained that scaled networks are compared with.

Below that, a step of resolution makes no difference in a final feature map of 1 x 1.
"""

SCALED_SHARE = 0.2
"""Training images of a scaled network, relative to those of a candidate of a search …"""

SCALED_LEAST = 4_000
"""… but at least so many: after less training all scaled networks are at chance level."""

PROBED_SECONDS = 2.0
"""Training by which the speed of trainings is measured, if that is more than a few steps."""

_CHECKED = 0.25
"""Images of the intermediate validation of a short training, relative to its training images."""


FINE_TUNED_IMAGES = 60_000
"""Training images of shared weights that are inherited, at most."""

FINE_TUNED_RESOLUTION = 96
"""Pixels at which networks that inherit weights are trained in a search …"""

FINE_TUNED_RATE, SHARED_FINE_TUNED_RATE = 4e-3, 2e-3
"""… and the learning rates: of networks alone, as `benchmarks/inheritance.py` chooses it, and of
shared weights."""


def fine_tuned(settings: TrainingSettings, space: SearchSpace) -> TrainingSettings:
    """Return how networks that inherit trained weights are trained: whole, with more pixels."""
    return replace(
        settings,
        width=1.0,
        resolution=min(FINE_TUNED_RESOLUTION, space.resolution),
        learning_rate=FINE_TUNED_RATE,
    )


def default_settings(
    data: ImageData, space: SearchSpace, *, asked: Reduction = BY_DEFAULT
) -> TrainingSettings:
    """Return how the candidates of a search are trained where there is no limit on time.

    Each sees a third more images than the data has, but at least 4,000 and at most 20,000: then
    two cores train 30 candidates in about twenty minutes.
    """
    settings = TrainingSettings(
        resolution=min(TrainingSettings.resolution, space.resolution),
        images_seen=max(4_000, min(20_000, len(data.train_labels) * 4 // 3)),
        flip="flip" in data.augment,
        shift="shift" in data.augment,
        augment=data.further_augmentation,
    )
    if asked.inherits:
        settings = fine_tuned(settings, space)
    if asked.images is not None:
        settings = replace(settings, images_seen=asked.images)
    return asked.of(settings)


def final_settings(settings: TrainingSettings, asked: Reduction = BY_DEFAULT) -> TrainingSettings:
    """Return how finalists are trained, given how candidates are: longer, never stopped early."""
    images = asked.images or int(FINAL_TIMES * settings.images_seen)
    return replace(settings, images_seen=images, checks=())


def scaled_settings(
    settings: TrainingSettings, space: SearchSpace, share: float | None = None
) -> TrainingSettings:
    """Return how scaled networks are trained, given how candidates are.

    Args:
        settings: of a candidate.
        space: the search space.
        share: training images relative to a candidate's; None: there is no limit on time.
    """
    if share is None:
        share = max(SCALED_SHARE, min(1.0, SCALED_LEAST / settings.images_seen))
    return replace(
        settings,
        resolution=min(SCALED_RESOLUTION, space.resolution),
        images_seen=max(256, int(settings.images_seen * share)),
        validation_images=min(settings.validation_images, 2_000),
    )


def settings_for_work(
    data: ImageData, space: SearchSpace, images: float, *, asked: Reduction = BY_DEFAULT
) -> TrainingSettings:
    """Return settings whose training and validation take as long as training on so many images.

    A short training is validated on at most as many images as it was trained on. An image costs a
    third as much to validate as to train on.
    """
    settings = default_settings(data, space, asked=asked)
    if asked.images is not None:
        return settings
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


def training_speed(
    data: ImageData, space: SearchSpace, device: str, *, asked: Reduction = BY_DEFAULT
) -> float:
    """Return training images per second of a candidate, measured on this machine in one thread.

    The candidate has the middle value of every choice.
    """
    settings = default_settings(data, space, asked=asked)
    return _speed(data, space, middle_network(space), settings, device)


def middle_network(space: SearchSpace) -> Architecture:
    """Return the network with the middle value of every choice, whose speed stands for all."""
    return space.decode({name: v[len(v) // 2] for name, v in space.choices.items()})


def grown_speed(
    data: ImageData, space: SearchSpace, network: Architecture, pixels: int, device: str
) -> float:
    """Return training images per second of a grown network, measured likewise.

    Args:
        data: images.
        space: the search space.
        network: has grown from one of ``pixels`` a side.
        pixels: see :func:`grown_settings`.
        device: where to train.
    """
    settings = grown_settings(data, pixels, GROWN_IMAGES)[-1]
    return _speed(data, space.at_resolution(pixels), network, settings, device)


def _speed(
    data: ImageData,
    space: SearchSpace,
    network: Architecture,
    settings: TrainingSettings,
    device: str,
) -> float:
    def seconds(images: int) -> float:
        short = replace(settings, images_seen=images, validation_images=64, checks=())
        proxy = TrainingProxy(data, short, device)
        proxy.prepare(space, Budget("none"), Path())
        start = time.perf_counter()
        proxy.evaluate(network, seed=0, report=lambda step, value: False)
        return time.perf_counter() - start

    few = 2 * settings.batch_size
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in each of several parallel processes
    try:
        seconds(few)  # the first steps are slow
        # By the difference of two lengths: a network is made and scored whatever the length.
        before = min(seconds(few), seconds(few))
        more = few * max(2, min(200, math.ceil(PROBED_SECONDS / before)))
        total = seconds(more)
    finally:
        torch.set_num_threads(threads)
    # Where another process took the time of the short ones, no more than half of it is overhead.
    return (more - few) / max(total - before, total * (more - few) / more / 2)


def grown_settings(data: ImageData, pixels: int, images: float) -> tuple[TrainingSettings, ...]:
    """Return how grown networks are trained, for each length.

    Args:
        data: images.
        pixels: a side of the images of the small network that has not grown; those of a network
            that has are in proportion.
        images: training images of the longest.
    """
    return tuple(
        TrainingSettings(
            width=1.0,
            resolution=pixels,
            images_seen=max(64, round(share * images)),
            batch_size=GROWN_BATCH,
            learning_rate=GROWN_RATE,
            checks=(),
            flip="flip" in data.augment,
            shift="shift" in data.augment,
            augment=data.further_augmentation,
            validation_images=GROWN_VALIDATION,
        )
        for share in GROWN_LENGTHS
    )


def training_settings(
    data: ImageData,
    space: SearchSpace,
    seconds: float | None,
    device: str,
    *,
    asked: Reduction = BY_DEFAULT,
) -> TrainingSettings:
    """Return how a candidate is trained in so many seconds; None: there is no limit on time."""
    if seconds is None:
        return default_settings(data, space, asked=asked)
    speed = training_speed(data, space, device, asked=asked)
    return settings_for_work(data, space, seconds * speed, asked=asked)


def supernet_settings(
    data: ImageData,
    space: SearchSpace,
    seconds: float | None,
    device: str,
    *,
    asked: Reduction = BY_DEFAULT,
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
    if asked.inherits:
        settings = replace(
            settings,
            width=1.0,
            resolution=min(FINE_TUNED_RESOLUTION, space.resolution),
            images_seen=min(settings.images_seen, FINE_TUNED_IMAGES),
            learning_rate=SHARED_FINE_TUNED_RATE,
        )
    settings = asked.of(settings)
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
