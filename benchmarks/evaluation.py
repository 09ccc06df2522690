"""A candidate's evaluation from a supernet: this project's and plain code, side by side.

    python benchmarks/evaluation.py [--networks 10]

A network takes its share of the weights, has its batch norms measured on 256 training images, and
is scored on 1,000 validation images. Plain code does the same with the network as PyTorch builds
it: default memory format, its convolutions, batch norms left in place, batches of 64. Both use all
cores for one network, and take turns; the shared weights are barely trained, which does not matter
for the time. Printed: seconds an evaluation, medians over the networks; and how far the two losses
are apart at most, which is rounding.

Goals: at most 0.3 s in `efficientnet` at 32 px, at most 1 s in `joint-block`, both at half width.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import ImageData, load_images, preprocess
from nas.networks.architecture import Architecture
from nas.networks.modules import Network, build
from nas.proxies.presets import supernet_settings
from nas.proxies.supernet import SupernetProxy, narrow_space, translate_choices
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace
from nas.training.supernet_trainer import SupernetSettings

BATCH = 64
BUDGET = "400M-flops"


def plain(proxy: SupernetProxy, network: Network) -> float:
    """Evaluate as one writes it; return the validation loss."""
    data, settings = proxy.data, proxy.settings

    def drawn(images: Tensor, labels: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(labels), generator=generator)[:count]
        for where in order.split(BATCH):
            inputs = preprocess(images[where], settings.resolution, data.mean, data.std)
            yield inputs, labels[where]

    total = 0.0
    with torch.no_grad():
        network.train()
        images = drawn(data.train_images, data.train_labels, settings.recalibration_images)
        network(torch.cat([pixels for pixels, _ in images]))
        network.eval()
        for pixels, labels in drawn(
            data.validation_images, data.validation_labels, settings.validation_images
        ):
            total += float(F.cross_entropy(network(pixels), labels, reduction="sum"))
    return total / settings.validation_images


def as_built(proxy: SupernetProxy, space: SearchSpace, arch: Architecture) -> Network:
    """Return the network as PyTorch builds it, with its share of the weights."""
    small = narrow_space(space, proxy.settings, proxy.data.channels, proxy.data.num_classes)
    network = build(small.decode(translate_choices(space.encode(arch), space, small)))
    network.load_state_dict(proxy.network(arch).state_dict())
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def measure(data: ImageData, name: str, settings: SupernetSettings, count: int) -> None:
    """Print the line of a space and a view."""
    space = load_space(name)
    proxy = SupernetProxy(data, replace(settings, images_seen=4 * settings.batch_size))
    feasible = Feasible(space, Budget(BUDGET, flops=400_000_000))
    rng = random.Random(0)
    ours, theirs, apart = [], [], 0.0
    with TemporaryDirectory() as folder:
        proxy.prepare(space, feasible.budget, Path(folder))
        for number in range(count + 1):
            arch = space.decode(feasible.sample(rng))
            network = as_built(proxy, space, arch)
            start = time.perf_counter()
            found = proxy.evaluate(arch, seed=0, report=lambda step, value: False)
            middle = time.perf_counter()
            loss = plain(proxy, network)
            if number:  # the first fills caches
                ours.append(middle - start)
                theirs.append(time.perf_counter() - middle)
            apart = max(apart, abs(loss - (found.loss or 0.0)))
    mine, other = statistics.median(ours), statistics.median(theirs)
    view = f"{settings.resolution} px, width {settings.width:g}"
    print(
        f"{name:16}{view:>20}{mine:10.2f}{other:10.2f}{other / mine:8.1f}   {apart:.1g}", flush=True
    )


def main() -> None:
    """Print a line for each space and view."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--networks", type=int, default=10)
    options = parser.parse_args()
    with TemporaryDirectory() as cache:
        data = load_images(options.data, cache=Path(cache))
    print(f"{torch.get_num_threads()} threads")
    print(f"{'space':16}{'view':>20}{'ours, s':>10}{'plain, s':>10}{'ratio':>8}   losses apart")
    half = SupernetSettings(width=0.5, resolution=32)
    default = supernet_settings(data, load_space("efficientnet"), None, "cpu")
    measure(data, "efficientnet", half, options.networks)
    measure(data, "efficientnet", default, options.networks)
    measure(data, "joint-block", half, options.networks)


if __name__ == "__main__":
    main()
