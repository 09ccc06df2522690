"""The proof that an export is the network it was made from: parameters, FLOPs and logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import NotProved
from nas.files import read_text
from nas.networks.architecture import Architecture
from nas.networks.cost import CONVENTION, measure_cost
from nas.networks.modules import Network, build
from nas.seeding import derived_seed

ACCEPTED = 1e-4
"""Largest difference of a logit that is accepted, in units of the largest logit where that is above
1: sums in another order differ by less."""

IMAGES = 4
_PIXELS = 400_000
"""About so many pixels of random images set batch norm's statistics, in 4 to 64 images."""


@dataclass(frozen=True)
class Proof:
    """What an export was found to be; made only where all of it is as it must be.

    Attributes:
        params: trainable weights and biases, counted in the export.
        flops: multiply-adds, counted in the export at the architecture's resolution.
        difference: the largest of any logit to the original's.
        largest: the largest logit, for comparison.
        shapes: of the images that logits were compared on: (batch, channels, height, width).
    """

    params: int
    flops: int
    difference: float
    largest: float
    shapes: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as plain data."""
        return {
            "params": self.params,
            "flops": self.flops,
            "convention": CONVENTION,
            "logits": {
                "largest_difference": self.difference,
                "accepted": accepted(self.largest),
                "largest": self.largest,
                "images": [list(shape) for shape in self.shapes],
            },
        }


def accepted(largest: float) -> float:
    """Return the largest difference that is accepted where the largest logit is so large."""
    return ACCEPTED * max(1.0, largest)


def prove(
    architecture: Architecture,
    network: nn.Module,
    run: Callable[[Tensor], Tensor],
    counted: tuple[int, int],
    *,
    seed: int,
    resolutions: Sequence[int] = (),
) -> Proof:
    """Return the proof that an export is the architecture's network.

    Args:
        architecture: of the original.
        network: the original, with the weights that the export has.
        run: the export: (batch, channels, h, w) to (batch, classes).
        counted: parameters and FLOPs counted in the export.
        seed: of the random images.
        resolutions: what else than the architecture's own it must take, in pixels.

    Raises:
        NotProved: says what differs.
    """
    cost = measure_cost(architecture)
    for what, wanted, found in zip(
        ("parameters", "FLOPs"), (cost.params, cost.flops), counted, strict=True
    ):
        if found != wanted:
            raise NotProved(f"{architecture.name}: the export has {found:,} {what}, not {wanted:,}")
    shapes = [(IMAGES, architecture.in_channels, architecture.resolution, architecture.resolution)]
    shapes += [(1, architecture.in_channels, pixels, pixels + 8) for pixels in resolutions]
    differences, largest = [], 0.0
    network.eval()
    for shape in shapes:
        images = random_images(shape, seed)
        with torch.inference_mode():
            ours, theirs = network(images), run(images)
        if ours.shape != theirs.shape:
            raise NotProved(f"{architecture.name}: the export answers {tuple(theirs.shape)}")
        differences.append((ours - theirs).abs().max())
        largest = max(largest, ours.abs().max().item())
    difference = torch.stack(differences).max().item()  # NaN if any is, which Python's is not
    if not difference <= accepted(largest):  # NaN is no proof
        raise NotProved(
            f"{architecture.name}: logits of the export differ by {difference:.2g} (the largest is "
            f"{largest:.2g}), accepted: {accepted(largest):.2g}"
        )
    return Proof(cost.params, cost.flops, difference, largest, tuple(shapes))


def randomised(architecture: Architecture, seed: int) -> Network:
    """Return the network with random weights; see :func:`randomise`.

    The images of the proof by the same seed are among those that set batch norm's statistics: deep
    random networks blow up what is unlike all that they were measured on.
    """
    # At the network's own resolution: a padded 5×5 sees less of a 2×2 grid than of a 7×7 one.
    size = architecture.resolution
    batch = max(4, min(64, _PIXELS // size**2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights"))
        network = build(architecture)
        randomise(network, random_images((batch, architecture.in_channels, size, size), seed))
    return network


def random_images(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return images (batch, channels, height, width) of large patches of noise, with noise on them.

    Fine noise alone looks the same everywhere: pooled, nothing would tell two images apart. An
    image depends on the seed, its number and its size, and not on how many there are.
    """
    images = []
    for number in range(shape[0]):
        generator = torch.Generator().manual_seed(derived_seed(seed, "image", number))
        patches = torch.randn((1, shape[1], 4, 4), generator=generator)
        coarse = nn.functional.interpolate(patches, size=shape[2:], mode="bilinear")
        images.append(coarse + 0.5 * torch.randn((1, *shape[1:]), generator=generator))
    return torch.cat(images)


def randomise(network: nn.Module, images: Tensor) -> None:
    """Make every part of a network felt in its logits; leave it in eval mode.

    Batch norm's scales, shifts and statistics become others than they begin as. The statistics are
    those of the images, so that no signal dies or explodes on its way, whatever the depth; but no
    variance is below the layer's mean one, or a channel that hardly varied on these images would
    drown all others, and the precision with them, on the next.
    """

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance.clamp(min=variance.mean().item()))

    hooks = []
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0.0, 0.2)
                hooks.append(module.register_forward_pre_hook(measure))
            elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.normal_(0.0, 0.2)
        network.eval()(images)
    for hook in hooks:
        hook.remove()


def load_source(path: Path) -> ModuleType:
    """Return the module in a file that an export has just written.

    It is this package's own text, made of validated numbers; nobody else's code is loaded.
    """
    loader = _Text(path)
    module = module_from_spec(ModuleSpec(f"nas_search_export_{path.stem}", loader))
    loader.exec_module(module)
    return module


class _Text(InspectLoader):
    """Loads a file's text as a module; no bytecode is left beside it, as an import would."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_source(self, fullname: str) -> str:
        return read_text(self._path)
