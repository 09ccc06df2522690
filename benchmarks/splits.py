"""Whether a choice of depth against width holds for longer trainings, on real images.

    python benchmarks/splits.py --data cifar10 --out splits [--run results/cifar10-400M-flops]

The small network that stands for a run's baseline grows four times in ten splits of the growth
between depth and width: networks of equal FLOPs as they are trained, that took no part in the
choice (which grew it eight times). Each is trained three times longer than for the choice, with
several seeds; a quadratic in the share of depth is fitted to ln(error). Printed: the regret of the
run's split, of what published trainings alone say, of the paper's, of equal shares and of each
dimension alone: how much higher the error is than at the best split, with intervals by drawing the
mean of each split anew with the noise from seed to seed. The directions' shares of resolution are
left out: images of 32 pixels cannot grow. It can be killed and started again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.cli.terminal_progress import TerminalProgress
from nas.evaluation.local import local_engine
from nas.evaluation.objective import make_objective
from nas.evaluation.seeded_runs import MeasuredNetwork, open_seeded_runs
from nas.evaluation.study import Study
from nas.networks.compound_scaling import PAPER, Coefficients
from nas.networks.scaling_direction import Direction
from nas.networks.small_base import small_base
from nas.proxies.presets import GROWN_FLOPS, grown_settings
from nas.proxies.short_training import TrainingProxy
from nas.runs.images import load_shared_images
from nas.spaces.budget import Budget
from nas.spaces.registry import load_architecture, load_space
from nas.strategies.grown_networks import GrownNetwork, grown, pixels_for

Floats = npt.NDArray[np.floating]

DOUBLINGS = 2.0
SPLITS = 10
SAMPLES = 10_000


def depth_share(direction: Direction) -> float:
    """Return the share of depth in what depth and width have together."""
    return direction.depth / (direction.depth + direction.width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--run", type=Path, default=Path("results/cifar10-400M-flops"))
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int)
    args = parser.parse_args()
    baseline = load_architecture(args.run / "baseline.json")
    chosen = json.loads((args.run / "coefficients.json").read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    with TerminalProgress() as progress:
        space = load_space("efficientnet")
        data, jobs = load_shared_images(args.data, space, args.jobs, "cpu", progress)
        pixels, _ = pixels_for(data.resolution, space.resolution)
        small = small_base(baseline, GROWN_FLOPS, pixels, data.channels, data.num_classes)
        shares = [place / (SPLITS - 1) for place in range(SPLITS)]
        networks = [grown(small, Direction(one, 1 - one, 0.0), DOUBLINGS) for one in shares]
        proxy = TrainingProxy(data, grown_settings(data, pixels, args.images)[-1])
        proxy.prepare(replace(space, resolution=pixels), Budget("none"), args.out)
        objective = make_objective("accuracy", Budget("none"), "loss")
        with open_seeded_runs(
            [one.architecture for one in networks],
            Study(args.out, "splits", {}, metric=objective.name),
            lambda count: local_engine(proxy, count),
            jobs,
            objective,
            seed=1,
            purpose="splits",
            total=args.seeds * SPLITS,
            progress=progress,
            phase="train",
        ) as runs:
            for turn in range(args.seeds):
                runs.run(turn, range(SPLITS))
            measured = runs.all_measured()
    triple = Coefficients(*(chosen[key] for key in ("alpha", "beta", "gamma")))
    prior = Direction(*chosen["training"]["prior"].values())
    report(networks, measured, {"the run's split": Direction.of(triple), "its prior's": prior})


def report(
    networks: Sequence[GrownNetwork],
    measured: Sequence[MeasuredNetwork],
    chosen: Mapping[str, Direction],
) -> None:
    """Print the trainings, and the regret of each way to split."""
    shares = np.array([depth_share(one.direction) for one in networks])
    errors = [
        np.array([math.log(1 - accuracy.mean) for accuracy in one.accuracies.values()])
        for one in measured
    ]
    print("depth  FLOPs   accuracy by seed")
    for share, network, own in zip(shares, networks, errors, strict=True):
        listed = "  ".join(f"{100 * (1 - math.exp(error)):.2f} %" for error in own)
        print(f"{100 * share:4.0f} %  {network.flops / 1e6:.2f}M  {listed}")
    ways = {
        **{name: depth_share(direction) for name, direction in chosen.items()},
        "the paper's": depth_share(Direction.of(PAPER)),
        "equal shares": 0.5,
        "depth alone": 1.0,
        "width alone": 0.0,
    }
    seeds = max(len(own) for own in errors)
    spread = np.concatenate([own - own.mean() for own in errors])
    noise = math.sqrt((spread**2).sum() / max(1, len(spread) - len(errors)))
    means = np.array([own.mean() for own in errors])
    found = regrets(shares, means, list(ways.values()))
    rng = np.random.default_rng(0)
    drawn = np.array(
        [
            regrets(
                shares,
                means + rng.normal(0, noise / math.sqrt(seeds), len(means)),
                list(ways.values()),
            )
            for _ in range(SAMPLES)
        ]
    )
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    print(
        f"\nln(error) from seed to seed: {noise:.4f}; best split: {best(shares, means):.0%} depth"
    )
    for place, (name, share) in enumerate(ways.items()):
        print(
            f"{name:16s} {share:4.0%} depth   error {100 * math.expm1(found[place]):+.2f} % over "
            f"the best split (90 %: {100 * math.expm1(low[place]):.2f} to "
            f"{100 * math.expm1(high[place]):.2f})"
        )


def regrets(shares: Floats, values: Floats, at: Sequence[float]) -> Floats:
    """Return by how much a quadratic fit is higher at some shares than at its best, (n,)."""
    fit = np.polynomial.Polynomial.fit(shares, values, 2, domain=(0, 1))
    lowest = fit(np.linspace(0, 1, 201)).min()
    return np.array([float(fit(share) - lowest) for share in at])


def best(shares: Floats, values: Floats) -> float:
    """Return the share at which a quadratic fit is lowest."""
    fit = np.polynomial.Polynomial.fit(shares, values, 2, domain=(0, 1))
    grid = np.linspace(0, 1, 201)
    return float(grid[fit(grid).argmin()])


if __name__ == "__main__":
    main()
