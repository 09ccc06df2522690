"""What inherited weights are worth: random networks around a source, after so many images.

    python benchmarks/inheritance.py efficientnet-lite0 --weights FILE --data cifar10 --out FILE

Each network, 30 to 90 % of the source's FLOPs, is trained with inherited and with new weights on
the same images. The learning rate of both is chosen alike: of some, the one with the lowest mean
loss on the first networks. Nothing is chosen by test images. Trainings are kept in --out, and the
command resumes there.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.data import ImageData
from nas.data.dataset import load_data
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.networks.pretrained import Pretrained, load_pretrained
from nas.progress import SilentProgress
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.spaces.around import space_around
from nas.spaces.budget import Budget
from nas.spaces.registry import load_architecture

RATES = (1e-3, 2e-3, 4e-3)
CHOOSING = 3
"""Networks on which the learning rate is chosen."""


def networks(source: Architecture, count: int, pixels: int) -> list[Architecture]:
    """Return random networks around a source, evenly spread over their shares of its FLOPs."""
    space = space_around(source, "around").at_resolution(pixels)
    whole = measure_cost(replace(source, resolution=pixels)).flops
    rng, found = random.Random(0), []
    for index in range(count):
        low, high = (0.3 + 0.6 * (index + step) / count for step in (0, 1))
        while True:
            network = space.decode(space.sample(rng))
            if low <= measure_cost(network).flops / whole < high:
                found.append(network)
                break
    order = list(range(count))
    rng.shuffle(order)
    return [found[index] for index in order]


class Trainings:
    """Trainings that were done, kept in a file of lines."""

    def __init__(
        self, file: Path, data: ImageData, weights: Pretrained, images: int, pixels: int
    ) -> None:
        self._file, self._data, self._weights = file, data, weights
        self._images, self._pixels = images, pixels
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self._known = {tuple(key): value for key, value in map(json.loads, lines)}

    def of(self, network: Architecture, inherits: bool, rate: float) -> tuple[float, float]:
        """Return accuracy and loss on the validation images."""
        key = (network.key(), inherits, rate, self._images, self._pixels)
        if key not in self._known:
            settings = TrainingSettings(
                width=1.0,
                resolution=self._pixels,
                images_seen=self._images,
                learning_rate=rate,
                checks=(),
                flip="flip" in self._data.augment,
                shift="shift" in self._data.augment,
            )
            proxy = TrainingProxy(self._data, settings, weights=self._weights if inherits else None)
            space = space_around(network, "one").at_resolution(self._pixels)
            proxy.prepare(space, Budget("none"), Path())
            found = proxy.evaluate(network, seed=0, report=lambda step, value: False)
            assert found.loss is not None
            self._known[key] = found.mean, found.loss
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps([key, self._known[key]]) + "\n")
        accuracy, loss = self._known[key]
        return accuracy, loss


def main() -> None:
    """Train what is missing, and print the gain of each network and its slope."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=6_400)
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--networks", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = load_architecture(options.architecture)
    weights = load_pretrained(options.weights, None, source)
    data = load_data(options.data, 3, SilentProgress(), lambda text: None, options.resolution)
    trainings = Trainings(options.out, data, weights, options.images, options.resolution)
    found = networks(source, options.networks, options.resolution)
    whole = measure_cost(replace(source, resolution=options.resolution)).flops
    rates = {}
    for inherits in (True, False):
        losses = {
            rate: statistics.mean(trainings.of(one, inherits, rate)[1] for one in found[:CHOOSING])
            for rate in RATES
        }
        rates[inherits] = min(losses, key=lambda rate: losses[rate])
        print(
            "inherited" if inherits else "new weights", {r: round(v, 4) for r, v in losses.items()}
        )
    gains, shares = [], []
    for network in found:
        inherited, fresh = (trainings.of(network, own, rates[own])[0] for own in (True, False))
        gains.append(100 * (inherited - fresh))
        shares.append(measure_cost(network).flops / whole)
        print(
            f"{shares[-1]:5.0%} of the FLOPs   inherited {100 * inherited:5.1f} %   "
            f"new {100 * fresh:5.1f} %   gain {gains[-1]:+5.1f}",
            flush=True,
        )
    (slope, _), covariance = np.polyfit(shares, gains, 1, cov=True)
    half = 1.96 * statistics.stdev(gains) / math.sqrt(len(gains))
    print(
        f"mean gain {statistics.mean(gains):+.1f} ± {half:.1f} points (95 % CI), least "
        f"{min(gains):+.1f}; slope {slope / 10:+.1f} ± {1.96 * covariance[0, 0] ** 0.5 / 10:.1f} "
        "points for each tenth of the FLOPs"
    )


if __name__ == "__main__":
    main()
