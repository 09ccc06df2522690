"""What inherited weights are worth: random networks around a source, after so many images.

    python benchmarks/inheritance.py efficientnet-lite0 --weights FILE --data cifar10 --out DIR

Each network, 30 to 90 % of the source's FLOPs, is trained with inherited and with new weights on
the same images. The learning rate of both is chosen alike: of some, the one with the lowest mean
loss on the first networks. Nothing is chosen by test images. Trainings are kept in --out, and the
command resumes there.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas.accuracy import Accuracy
from nas.cli.terminal_progress import TerminalProgress
from nas.data import ImageData
from nas.data.dataset import load_data
from nas.evaluation.local import default_jobs, local_engine
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import open_seeded_runs
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.networks.pretrained import Pretrained, load_pretrained
from nas.progress import Progress
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.spaces.around import space_around
from nas.spaces.budget import Budget
from nas.spaces.registry import load_architecture
from nas.spaces.search_space import SearchSpace

RATES = (1e-3, 2e-3, 4e-3, 8e-3)
CHOOSING = 3
"""Networks on which the learning rate is chosen."""

OBJECTIVE = Objective("accuracy", "loss")


def draw(source: Architecture, space: SearchSpace, count: int) -> list[Architecture]:
    """Return random networks of a space, evenly spread over their shares of its source's FLOPs."""
    whole = flops_of(source, space)
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


def flops_of(source: Architecture, space: SearchSpace) -> int:
    """Return the FLOPs of the source with the input and the classes of a space."""
    as_there = replace(source, resolution=space.resolution, num_classes=space.num_classes)
    return measure_cost(as_there).flops


def train(
    networks: list[Architecture],
    count: int,
    space: SearchSpace,
    data: ImageData,
    weights: Pretrained | None,
    rate: float,
    options: argparse.Namespace,
    progress: Progress,
) -> list[Accuracy]:
    """Return what the first networks have on the validation images, trained now or before."""
    settings = TrainingSettings(
        width=1.0,
        resolution=options.resolution,
        images_seen=options.images,
        learning_rate=rate,
        checks=(),
        flip="flip" in data.augment,
        shift="shift" in data.augment,
    )
    proxy = TrainingProxy(data, settings, weights=weights)
    proxy.prepare(space, Budget("none"), options.out)
    begins = "new" if weights is None else "inherited"
    name = f"{begins}-{rate:g}-{options.images}-{options.resolution}"
    with open_seeded_runs(
        networks,
        Study(options.out, name, {}, metric=OBJECTIVE.name),
        lambda jobs: local_engine(proxy, jobs),
        default_jobs("cpu"),
        OBJECTIVE,
        seed=0,
        purpose="inheritance",
        total=count,
        progress=progress,
        phase=f"{begins}, {rate:g}",
    ) as runs:
        runs.run(0, range(count))
        measured = [runs.measured(index) for index in range(count)]
    found = [network.accuracy for network in measured]
    assert None not in found, [network.reason for network in measured]
    return [one for one in found if one is not None]


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
    parser.add_argument("--rates", type=float, nargs=2, help="of inherited and of new weights")
    options = parser.parse_args()
    source = load_architecture(options.architecture)
    weights = load_pretrained(options.weights, None, source)
    with TerminalProgress(quiet=False) as progress:
        data = load_data(options.data, 3, progress, progress.note, options.resolution)
        space = replace(
            space_around(source, "around").at_resolution(options.resolution),
            num_classes=data.num_classes,
        )
        found = draw(source, space, options.networks)
        scores, lines = [], []
        for index, begins in enumerate((weights, None)):
            rates = RATES if options.rates is None else (options.rates[index],)
            losses = {}
            for rate in rates if len(rates) > 1 else ():
                some = train(found, CHOOSING, space, data, begins, rate, options, progress)
                losses[rate] = statistics.mean(float(one.loss or 0) for one in some)
            rate = min(losses, key=lambda rate: losses[rate]) if losses else rates[0]
            tried = ", ".join(f"{tried:g} {loss:.3f}" for tried, loss in losses.items())
            lines.append(
                f"{'new weights' if begins is None else 'inherited'}: learning rate {rate:g}"
                + (f" (losses of {CHOOSING} networks: {tried})" if tried else "")
            )
            scores.append(train(found, len(found), space, data, begins, rate, options, progress))
    print(
        f"{data.name}, {options.images:,} images at {options.resolution} px, "
        f"{len(data.validation_labels):,} validation images (at most 5,000 are used)",
        *lines,
        sep="\n",
    )
    whole = flops_of(source, space)
    gains, shares, worse = [], [], 0
    for network, inherited, new in zip(found, *scores, strict=True):
        gains.append(100 * (inherited.mean - new.mean))
        shares.append(measure_cost(network).flops / whole)
        noise = 100 * 1.96 * math.hypot(inherited.standard_error, new.standard_error)
        worse += gains[-1] < -noise
        print(
            f"{shares[-1]:5.0%} of the FLOPs   inherited {100 * inherited.mean:5.1f} %   "
            f"new {100 * new.mean:5.1f} %   gain {gains[-1]:+5.1f} ± {noise:.1f}"
        )
    (slope, _), covariance = np.polyfit(shares, gains, 1, cov=True)
    half = 1.96 * statistics.stdev(gains) / math.sqrt(len(gains))
    print(
        f"mean gain {statistics.mean(gains):+.1f} ± {half:.1f} points (95 % CI), least "
        f"{min(gains):+.1f}, {worse} worse beyond the noise of the images; slope "
        f"{slope / 10:+.1f} ± {1.96 * covariance[0, 0] ** 0.5 / 10:.1f} points for each tenth of "
        "the FLOPs"
    )


if __name__ == "__main__":
    main()
