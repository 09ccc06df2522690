"""``nas-search evaluate``: the accuracy of one network by a proxy, over several seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from nas.accuracy import Accuracy, pooled
from nas.data.dataset import DEFAULT_OPTIONS, ImageOptions, channels_for, load_data
from nas.environment import check_device
from nas.errors import InputError, check_range
from nas.networks.architecture import Architecture
from nas.networks.pretrained import Pretrained
from nas.progress import Progress, SilentProgress, shown_as
from nas.proxies import presets
from nas.proxies.reduction import Reduction
from nas.proxies.registration import ProxySetup
from nas.proxies.registry import (
    check_data,
    check_weights,
    known_proxy,
    make_proxy,
    proxy_capabilities,
)
from nas.seeding import derived_seed
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace


@dataclass(frozen=True)
class AccuracySettings:
    """Which network is measured, by which proxy.

    Attributes:
        architecture: the network.
        space: the search space that a supernet, predictor or table is of.
        proxy: name of the proxy.
        data: images, by name or path; None: the built-in ones, where the proxy needs any.
        seeds: how many measurements; one of a proxy that always says the same.
        seed: of the first.
        seconds: about how long all measurements take; None: as long as suits the data.
        device: that torch runs on.
        image_options: how images are prepared and augmented.
        weights: trained weights that the network, or the supernet, begins with; None: new ones.

    Raises:
        InputError: a value is not accepted.
    """

    architecture: Architecture
    space: SearchSpace
    proxy: str = "training"
    data: str | None = None
    seeds: int = 1
    seed: int = 0
    seconds: float | None = None
    device: str = "cpu"
    image_options: ImageOptions = DEFAULT_OPTIONS
    weights: Pretrained | None = None

    def __post_init__(self) -> None:
        """Refuse what is not accepted."""
        check_range("seeds", self.seeds, 1, 100)
        check_device(self.device)
        proxy_capabilities(self.proxy)  # an unknown name is an error
        check_data(self.proxy, self.data)
        check_weights(self.proxy, self.weights)


def measure_accuracy(settings: AccuracySettings, progress: Progress | None = None) -> Accuracy:
    """Return the accuracy of a network by a proxy.

    Args:
        settings: which network, by which proxy.
        progress: shows how far it is; None: nothing is shown.

    Raises:
        InputError: the proxy cannot measure this network, or the images do not fit.
    """
    if proxy_capabilities(settings.proxy).needs_images:
        return _trained(settings, progress or SilentProgress())
    try:  # once, since it would say the same again
        return known_proxy(settings.proxy, settings.space).evaluate(
            settings.architecture, seed=0, report=lambda step, value: False
        )
    except LookupError as error:
        raise InputError(str(error)) from None


def _trained(settings: AccuracySettings, progress: Progress) -> Accuracy:
    space, architecture, device = settings.space, settings.architecture, settings.device
    shares = proxy_capabilities(settings.proxy).shares_weights
    if shares:
        space.encode(architecture)  # what is not in the space is found before minutes of training
    channels = channels_for(space, settings.data)
    data = load_data(
        settings.data, channels, progress, progress.note, options=settings.image_options
    )
    space = space.at_resolution(architecture.resolution)
    each = None if settings.seconds is None else settings.seconds / settings.seeds
    asked = Reduction(inherits=settings.weights is not None)
    supernet, training = None, None
    if shares:
        supernet = presets.supernet_settings(data, space, each, device, asked=asked)
    else:
        training = presets.training_settings(data, space, each, device, asked=asked)
    results: list[Accuracy] = []
    for index in range(settings.seed, settings.seed + settings.seeds):
        # A supernet is trained once for all networks, so that another seed is another supernet.
        setup = ProxySetup(
            data=data,
            device=device,
            seed=derived_seed(index, "supernet"),
            weights=settings.weights,
            training=training,
            supernet=supernet,
            on_progress=shown_as(progress, f"supernet {index}"),
        )
        proxy = make_proxy(settings.proxy, setup)
        with TemporaryDirectory() as folder:
            proxy.prepare(space, Budget("none"), Path(folder))
        if shares or not results:
            progress.phase("evaluate", None if shares else settings.seeds)
        results.append(
            proxy.evaluate(
                architecture,
                seed=derived_seed(index, "evaluate"),
                report=lambda step, value: False,
            )
        )
        progress.advance(1)
    return pooled(results)
