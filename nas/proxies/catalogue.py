"""The proxies by name, and what suits a user's data and time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from nas.budget import Budget
from nas.data import BUILT_IN, ImageData
from nas.errors import InputError
from nas.proxies.protocol import Proxy
from nas.proxies.training import TrainingProxy, TrainingSettings
from nas.space import SearchSpace

PROXIES: dict[str, str] = {
    "training": "trains each candidate from scratch, narrow, at few pixels, briefly; ranks by loss",
}
"""The proxies by name, a line each."""

DEFAULT = "training"

GRID_RESOLUTION = 64
"""Pixels of the grid's baseline: below, a step of resolution is lost in a final map of 1 x 1."""

GRID_SHARE = 0.3
"""Training images of an evaluation in the grid, over those of one in the search."""


def default_settings(data: ImageData, space: SearchSpace) -> TrainingSettings:
    """Return how candidates of a search are trained on data of this size, with no limit on time.

    A third more images than there are, but not more than 20,000: then two cores do 30 candidates,
    and the grid after them, in half an hour.
    """
    return TrainingSettings(
        resolution=min(TrainingSettings.resolution, space.resolution),
        passes=max(4_000, min(20_000, len(data.train_labels) * 4 // 3)),
        flip=data.name != BUILT_IN,
    )


def grid_settings(
    settings: TrainingSettings, space: SearchSpace, share: float = GRID_SHARE
) -> TrainingSettings:
    """Return how scaled networks are trained, given how candidates are."""
    return replace(
        settings,
        resolution=min(GRID_RESOLUTION, space.resolution),
        passes=max(256, int(settings.passes * share)),
        validation_images=min(settings.validation_images, 2_000),
    )


def grid_work(evaluations: int) -> float:
    """Return what a grid costs, in candidates' trainings of as many images.

    An image costs a scaled network about five times what it costs a candidate: measured on two
    cores, four and a half for twice the pixels a side and twice the network, and its validation.
    The first round trains all, the second half of them, the third a quarter.
    """
    return 5 * 1.75 * evaluations


def settings_for_time(
    data: ImageData, space: SearchSpace, seconds: float, device: str
) -> TrainingSettings:
    """Return settings that train a candidate in about ``seconds`` on this machine, one core.

    Measured on the space's middle: a network of every choice's middle value.
    """
    settings = default_settings(data, space)
    middle = space.decode({name: v[len(v) // 2] for name, v in space.choices.items()})
    probe = TrainingProxy(data, replace(settings, passes=384, validation_images=64), device)
    probe.prepare(space, Budget("none"), Path())
    probe.evaluate(middle, seed=0, report=lambda step, value: False)
    start = time.perf_counter()
    probe.evaluate(middle, seed=0, report=lambda step, value: False)
    speed = 384 / (time.perf_counter() - start)
    return replace(settings, passes=int(max(256, min(200_000, 0.85 * seconds * speed))))


def make_proxy(name: str, data: ImageData, settings: TrainingSettings, device: str) -> Proxy:
    """Return the proxy of that name.

    Raises:
        InputError: unknown name.
    """
    check_proxy(name)
    return TrainingProxy(data, settings, device)


def check_proxy(name: str) -> None:
    """Raise :class:`InputError` unless a proxy has that name."""
    if name not in PROXIES:
        raise InputError(f"proxy {name!r} is not accepted: {', '.join(PROXIES)}")
