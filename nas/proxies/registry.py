"""The proxies by name, built in and installed, and which of them suits.

To add a proxy: a file with the proxy and its :class:`~nas.proxies.registration.ProxyFactory`, and
a line here. Nothing here imports a proxy before it is used, since help and completion list them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.accuracy import RankBy
from nas.errors import InputError
from nas.plugins import Registration, Registry
from nas.proxies.protocol import Proxy, ProxyCapabilities, capabilities_of
from nas.proxies.registration import ProxyFactory, ProxySetup
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace

if TYPE_CHECKING:
    from nas.networks.pretrained import Pretrained

SUPERNET = "supernet"
TRAINING = "training"
IMAGENET = "imagenet"

PROXIES = Registry(
    "proxy",
    "nas_search.proxies",
    (
        Registration(
            SUPERNET,
            "nas.proxies.supernet:SUPERNET",
            "trains all networks at once, with shared weights; then scores each; ranks by loss",
        ),
        Registration(
            TRAINING,
            "nas.proxies.short_training:TRAINING",
            "trains each candidate from scratch, narrow, at few pixels, briefly; ranks by loss",
        ),
        Registration(
            IMAGENET,
            "nas.proxies.imagenet_predictor:IMAGENET",
            "predicts ImageNet top-1 after 16 epochs, from 5,138 real trainings; no images",
        ),
        Registration(
            "zero-cost:synflow",
            "nas.proxies.zero_cost:SYNFLOW",
            "scores without training or images: synaptic flow (Tanaka et al. 2020)",
        ),
        Registration(
            "zero-cost:naswot",
            "nas.proxies.zero_cost:NASWOT",
            "scores without training: activation patterns of images (Mellor et al. 2021)",
        ),
        Registration(
            "zero-cost:flops",
            "nas.proxies.zero_cost:FLOPS",
            "scores by FLOPs, more being better, as a baseline",
        ),
        Registration(
            "zero-cost:params",
            "nas.proxies.zero_cost:PARAMS",
            "scores by parameters, more being better, as a baseline",
        ),
        Registration(
            "table",
            "nas.proxies.tabular:TABLE",
            "looks each candidate up in a benchmark table (JSON Lines); no images",
            argument="FILE",
        ),
    ),
)
"""The proxies. Other distributions add theirs by entry points of this group."""


def proxy_factory(name: str) -> ProxyFactory:
    """Return what the proxy of a name is made by.

    Raises:
        InputError: unknown name, or an installed proxy that cannot be used.
    """
    registration = PROXIES.find(name)
    loaded = PROXIES.load(registration)
    if isinstance(loaded, ProxyFactory):
        return loaded
    if isinstance(loaded, type) and issubclass(loaded, Proxy):
        made_by_itself = loaded
        return ProxyFactory(lambda setup: made_by_itself(), capabilities_of(loaded))
    raise PROXIES.unusable(
        registration,
        f"{type(loaded).__name__} is not accepted: a class with the methods prepare and evaluate, "
        "or a ProxyFactory",
    )


def proxy_capabilities(name: str) -> ProxyCapabilities:
    """Return what the proxy of a name can do.

    Raises:
        InputError: unknown name, or an installed proxy that cannot be used.
    """
    return proxy_factory(name).capabilities


def recorded_rank_by(name: str) -> RankBy | None:
    """Return what a built-in proxy ranks by, given its name in a file; None: no such proxy."""
    for registration in PROXIES.built_in:
        loaded = PROXIES.load(registration) if registration.name == name else None
        if isinstance(loaded, ProxyFactory):
            return loaded.capabilities.rank_by
    return None


def make_proxy(name: str, setup: ProxySetup | None = None) -> Proxy:
    """Return the proxy of a name, not prepared yet.

    Args:
        name: with its argument, if it takes one.
        setup: what it can be made of; its ``argument`` is taken from the name.

    Raises:
        InputError: unknown name, an installed proxy that cannot be made, or a table that cannot be
            read.
    """
    registration, factory = PROXIES.find(name), proxy_factory(name)
    setup = replace(setup or ProxySetup(), argument=registration.argument_in(name) or "")
    if registration.distribution is None:
        return factory.make(setup)
    try:
        proxy: object = factory.make(setup)
    except InputError:
        raise
    except Exception as error:
        raise PROXIES.unusable(registration, "cannot be made", error) from error
    if not isinstance(proxy, Proxy):
        reason = f"made {type(proxy).__name__}, which lacks a method prepare or evaluate"
        raise PROXIES.unusable(registration, reason)
    return proxy


def known_proxy(name: str, space: SearchSpace) -> Proxy:
    """Return a proxy that needs no images, prepared for a space.

    Raises:
        InputError: unknown name, a table that cannot be read or is of another space, a space that
            the predictor does not know.
    """
    proxy = make_proxy(name)
    proxy.prepare(space, Budget("none"), Path())
    return proxy


def default_proxy(space: SearchSpace, data: str | None) -> str:
    """Return the proxy that suits: a trained one for a user's data or a space nobody measured."""
    from nas.proxies.imagenet_predictor import knows

    return IMAGENET if data is None and knows(space) else SUPERNET


def check_data(name: str, data: str | None) -> None:
    """Raise :class:`InputError` where images are given to a proxy that looks at none."""
    if data is not None and not proxy_capabilities(name).needs_images:
        raise InputError(f"--data {data}: not accepted: proxy {name} uses no images")


def check_weights(name: str, weights: Pretrained | None) -> None:
    """Raise :class:`InputError` where trained weights are given to a proxy that trains nothing."""
    capabilities = proxy_capabilities(name)
    if weights is not None and not (capabilities.trains_candidates or capabilities.shares_weights):
        raise InputError(f"--weights: not accepted with proxy {name}, which trains nothing")
