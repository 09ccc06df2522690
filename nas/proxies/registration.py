"""How a proxy is registered: beside its code, with what it can do and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nas.proxies.protocol import Proxy, ProxyCapabilities

if TYPE_CHECKING:
    from nas.data import ImageData
    from nas.networks.pretrained import Pretrained
    from nas.proxies.short_training import TrainingSettings
    from nas.proxies.supernet import OnProgress
    from nas.training.supernet_trainer import SupernetSettings


@dataclass(frozen=True)
class ProxySetup:
    """What a registered proxy can be made of.

    Attributes:
        argument: what follows its name and a colon, as in ``table:FILE``.
        data: images; None for a proxy that does not declare ``needs_images``.
        device: where it computes.
        seed: of what it trains once for all networks.
        weights: trained weights that networks inherit; None: they begin with new ones.
        training: how each network is trained; None: by default.
        supernet: how shared weights are trained; None: by default.
        on_progress: called with the progress of what it trains once for all networks.
    """

    argument: str = ""
    data: ImageData | None = None
    device: str = "cpu"
    seed: int = 0
    weights: Pretrained | None = None
    training: TrainingSettings | None = None
    supernet: SupernetSettings | None = None
    on_progress: OnProgress | None = None

    @property
    def images(self) -> ImageData:
        """The images, of a proxy that declares that it needs them."""
        assert self.data is not None, "a proxy that needs images is made with images"
        return self.data


@dataclass(frozen=True)
class ProxyFactory:
    """A registered proxy: what its name stands for.

    Attributes:
        make: returns the proxy, not prepared yet.
        capabilities: those of the proxy, known before it is made.
    """

    make: Callable[[ProxySetup], Proxy]
    capabilities: ProxyCapabilities = field(default_factory=ProxyCapabilities)
