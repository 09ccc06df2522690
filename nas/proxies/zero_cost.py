"""The proxies ``zero-cost:…``: measures of a network that need no training.

They are baselines rather than recommendations: most measures of the literature rank networks of
this kind little better than FLOPs or parameters do, which are here beside them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.accuracy import Accuracy
from nas.data import ImageData, preprocess, resize
from nas.errors import Diverged
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import round_resolution, scale
from nas.networks.cost import measure_cost
from nas.networks.modules import Network, build
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.proxies.registration import ProxyFactory
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace

MEASURES: dict[str, str] = {
    "synflow": "synaptic flow through the linearised network (Tanaka et al. 2020)",
    "naswot": "how differently the images of a batch activate it (Mellor et al. 2021)",
    "flops": "more FLOPs are better",
    "params": "more parameters are better",
}
"""The measures by name, each in one line."""

RESOLUTION = 32
BATCH = 64
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)


class ZeroCostProxy:
    """Scores networks as they are initialised. What it returns is a score, not an accuracy.

    A score is the logarithm x of the measure, mapped into [0, 1] by x / (x + 100) (NASWOT is a
    logarithm already). Only the order of scores has a meaning.

    Args:
        measure: one of :data:`MEASURES`.
        data: images for ``naswot``; the others need none.
        device: where the measure is computed.
    """

    def __init__(self, measure: str, data: ImageData | None = None, device: str = "cpu") -> None:
        if measure == "naswot" and data is None:
            raise ValueError("naswot needs images")
        self.name = f"zero-cost:{measure}"
        self.capabilities = ProxyCapabilities(needs_images=measure == "naswot")
        self.device = device
        self._measure = measure
        self._base = 0
        self._images: Tensor | None = None
        self._data_name = None
        if measure == "naswot" and data is not None:
            drawn = torch.randperm(
                len(data.train_labels), generator=torch.Generator().manual_seed(0)
            )[:BATCH]
            pixels = data.train_images[drawn]
            self._images = preprocess(pixels, RESOLUTION, data.mean, data.std)
            self._data_name = data.name

    def describe(self) -> dict[str, Any]:
        """Return the measure, and how it is taken."""
        sees = {} if self._images is None else {"images": len(self._images)}
        return {"measure": self._measure, "resolution": RESOLUTION, **sees}

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Note the space's resolution, to which the proxy's own is in proportion."""
        self._base = space.resolution

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return the score, in [0, 1].

        Raises:
            Diverged: the score is not finite.
        """
        if self._measure in ("flops", "params"):
            value = math.log(getattr(measure_cost(arch), self._measure))
        else:
            value = self._of_network(arch, seed)
        if not math.isfinite(value) or value < 0:
            raise Diverged(f"{self._measure} is {value}: not a score")
        return Accuracy(
            mean=value / (value + 100),
            standard_error=0.0,
            seeds=(seed,),
            metric=f"score in [0, 1], not an accuracy: {MEASURES[self._measure]}",
            proxy=self.name,
            data=self._data_name,
            predicted=True,
        )

    def _of_network(self, arch: Architecture, seed: int) -> float:
        factor = RESOLUTION / (self._base or arch.resolution)
        small = scale(arch, resolution=round_resolution(arch.resolution, factor), name=arch.name)
        if self._images is not None:
            small = replace(small, in_channels=self._images.shape[1])
        device = "cpu" if self.device == "mps" else self.device  # sums are in double precision
        with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
            torch.manual_seed(seed)
            network = build(small).to(device)
            if self._images is None:
                return synflow(network, small.in_channels, small.resolution)
            # Dropout draws from the generator that is forked here.
            return naswot(network, resize(self._images, small.resolution).to(device))


def _factory(measure: str) -> ProxyFactory:
    return ProxyFactory(
        lambda setup: ZeroCostProxy(measure, setup.data, setup.device),
        ProxyCapabilities(needs_images=measure == "naswot"),
    )


SYNFLOW, NASWOT, FLOPS, PARAMS = map(_factory, MEASURES)


def synflow(network: Network, channels: int, resolution: int) -> float:
    """Return the logarithm of Σ |θ · ∂R/∂θ|, R the output's sum for an input of ones.

    All weights by their absolute values, no nonlinearity but the network's own, batch norm as it
    is initialised, in double precision (Tanaka et al. 2020, arXiv 2006.05467; as a measure of
    architectures: Abdelfattah et al. 2021, arXiv 2101.08134).
    """
    network.double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    device = next(network.parameters()).device
    ones = torch.ones(1, channels, resolution, resolution, dtype=torch.double, device=device)
    network(ones).sum().backward()
    flows = [(p * p.grad).abs().sum() for p in network.parameters() if p.grad is not None]
    return math.log1p(float(torch.stack(flows).detach().sum()))


def naswot(network: Network, images: Tensor) -> float:
    """Return the logarithm of the determinant of how alike a batch's activation patterns are.

    Entry (i, j) counts the units that are active for both images or for neither; a unit is active
    where its activation's input is positive (Mellor et al. 2021, arXiv 2006.04647). Batch norm
    normalises by the batch.

    Raises:
        Diverged: two images have the same pattern everywhere.
    """
    alike = torch.zeros(len(images), len(images), dtype=torch.double, device=images.device)

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        active = (inputs[0].flatten(1) > 0).float()
        alike.add_((active @ active.T + (1 - active) @ (1 - active).T).double())

    hooks = [
        module.register_forward_pre_hook(count)
        for module in network.modules()
        if isinstance(module, _ACTIVATIONS)
    ]
    network.train()
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    sign, logarithm = torch.linalg.slogdet(alike.cpu())
    if float(sign) <= 0:
        raise Diverged("naswot: the images' activation patterns are not distinct")
    return float(logarithm)
