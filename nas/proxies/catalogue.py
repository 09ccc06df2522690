"""The proxies by name, and what suits a user's data and time."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nas.budget import Budget
from nas.data import BUILT_IN, ImageData
from nas.errors import InputError
from nas.proxies.protocol import Proxy
from nas.proxies.supernet import OnProgress, SupernetProxy
from nas.proxies.supernet_training import SupernetSettings
from nas.proxies.training import TrainingProxy, TrainingSettings
from nas.space import SearchSpace
from nas.table import read_table

PROXIES: dict[str, str] = {
    "supernet": "trains all networks at once, with shared weights; then scores each; ranks by loss",
    "training": "trains each candidate from scratch, narrow, at few pixels, briefly; ranks by loss",
    "imagenet": "predicts ImageNet top-1 after 16 epochs, from 5,138 real trainings; no images",
    "zero-cost:NAME": "scores without training, as baselines: synflow, naswot, flops, params",
    "table:FILE": "looks each candidate up in a benchmark table (JSON Lines); no images",
}
"""The proxies by name, a line each."""

TRAINING = "training"
SUPERNET = "supernet"
_TABLE = "table:"
_ZERO_COST = "zero-cost:"

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
        passes=max(4_000, min(20_000, len(data.train_labels) * 4 // 3)),
        flip=data.name != BUILT_IN,
    )


def final_settings(settings: TrainingSettings) -> TrainingSettings:
    """Return how finalists are trained, given how candidates are: longer, and to the end."""
    return replace(settings, passes=int(FINAL_TIMES * settings.passes), checks=())


def grid_settings(
    settings: TrainingSettings, space: SearchSpace, share: float | None = None
) -> TrainingSettings:
    """Return how scaled networks are trained, given how candidates are.

    ``share`` of a candidate's training images; None: where no time is given.
    """
    if share is None:
        share = max(GRID_SHARE, min(1.0, GRID_LEAST / settings.passes))
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


def settings_for_work(data: ImageData, space: SearchSpace, images: float) -> TrainingSettings:
    """Return settings that train a candidate in the time in which so many images are trained on.

    A short training is validated on no more images than it was trained on; an image costs a third
    there.
    """
    settings = default_settings(data, space)
    validated = (settings.validation_images + settings.check_images) / 3
    share = 1 + (1 + _CHECKED) / 3
    passes = min(0.85 * images, max(0.95 * images - validated, 0.95 * images / share))
    passes = int(max(256, min(200_000, passes)))
    return replace(
        settings,
        passes=passes,
        validation_images=min(settings.validation_images, passes),
        check_images=min(settings.check_images, int(_CHECKED * passes)),
    )


def training_speed(data: ImageData, space: SearchSpace, device: str) -> float:
    """Return training images a second of a candidate, measured on this machine, with one thread.

    The candidate is the space's middle: a network of every choice's middle value.
    """
    middle = space.decode({name: v[len(v) // 2] for name, v in space.choices.items()})
    settings = default_settings(data, space)
    settings = replace(settings, passes=384, validation_images=64, checks=())
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
    return settings.passes / (time.perf_counter() - start)


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
        passes=max(10_000, min(150_000, 60 * len(data.train_labels))),
        flip=data.name != BUILT_IN,
    )
    if seconds is None:
        return settings
    speed = _supernet_speed(data, space, settings, device)
    return replace(settings, passes=int(max(1_000, min(3_000_000, 0.95 * seconds * speed))))


def _supernet_speed(
    data: ImageData, space: SearchSpace, settings: SupernetSettings, device: str
) -> float:
    """Return training images a second of random networks, with all the threads there are."""
    start = 0.0
    for passes in (4, 16):  # the first ones are slow
        count = passes * settings.batch_size * settings.paths
        proxy = SupernetProxy(data, replace(settings, passes=count), device)
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            proxy.prepare(space, Budget("none"), Path(folder))
    return count / (time.perf_counter() - start)


def trains(name: str) -> bool:
    """Say whether the proxy of that name trains every candidate."""
    return name == TRAINING


def needs_images(name: str) -> bool:
    """Say whether the proxy of that name looks at images."""
    return name in (SUPERNET, TRAINING, f"{_ZERO_COST}naswot")


def default_proxy(space: SearchSpace, data: str | None) -> str:
    """Return the proxy that suits: a trained one for a user's data or a space nobody measured."""
    from nas.proxies.imagenet import knows

    return "imagenet" if data is None and knows(space) else SUPERNET


def make_proxy(
    name: str,
    data: ImageData | None = None,
    settings: TrainingSettings | SupernetSettings | None = None,
    device: str = "cpu",
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Proxy:
    """Return a proxy by its name, not prepared yet.

    Args:
        name: of the catalogue.
        data: images, for a proxy that needs them.
        settings: how that one trains.
        device: where it does.
        seed: of what is trained once for all networks.
        on_progress: told how far that training is.

    Raises:
        InputError: unknown name, or a table that cannot be read.
    """
    check_proxy(name)
    assert data is not None or not needs_images(name), "the caller loads images where needed"
    if name.startswith(_ZERO_COST):
        from nas.proxies.zero_cost import ZeroCostProxy

        return ZeroCostProxy(name.removeprefix(_ZERO_COST), data, device)
    if data is not None and name == TRAINING:
        assert not isinstance(settings, SupernetSettings)
        return TrainingProxy(data, settings, device)
    if data is not None and name == SUPERNET:
        assert not isinstance(settings, TrainingSettings)
        return SupernetProxy(data, settings, device, seed, on_progress)
    if name.startswith(_TABLE):
        from nas.proxies.table import TableProxy

        return TableProxy(read_table(Path(name.removeprefix(_TABLE))))
    from nas.proxies.imagenet import ImagenetProxy

    return ImagenetProxy()


def known_proxy(name: str, space: SearchSpace) -> Proxy:
    """Return a proxy that needs no images, ready for the space.

    Raises:
        InputError: unknown name, a table that cannot be read or is of another space, a space that
            the predictor does not know.
    """
    proxy = make_proxy(name)
    proxy.prepare(space, Budget("none"), Path())
    return proxy


def check_proxy(name: str) -> None:
    """Raise :class:`InputError` unless a proxy has that name."""
    if name.startswith(_TABLE) and name != _TABLE:
        return
    if name.startswith(_ZERO_COST):
        from nas.proxies.zero_cost import MEASURES

        if name.removeprefix(_ZERO_COST) in MEASURES:
            return
        raise InputError(
            f"proxy {name!r} is not accepted: "
            + ", ".join(f"{_ZERO_COST}{measure}" for measure in MEASURES)
        )
    if name not in PROXIES or name.startswith(_TABLE):
        raise InputError(f"proxy {name!r} is not accepted: {', '.join(PROXIES)}")


def check_data(name: str, data: str | None) -> None:
    """Raise :class:`InputError` where images are given to a proxy that looks at none."""
    if data is not None and not needs_images(name):
        raise InputError(f"--data {data}: not accepted: proxy {name} looks at no images")


def check_grid_proxy(name: str) -> None:
    """Raise :class:`InputError` unless that proxy can measure scaled networks."""
    check_proxy(name)
    if not trains(name):
        raise InputError(
            f"grid proxy {name!r} is not accepted: {TRAINING} (a predictor or a table knows "
            "nothing of scaled networks)"
        )
