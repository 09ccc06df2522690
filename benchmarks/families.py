"""How well scaled families keep their promise: b_k costs 2^k times the baseline.

    python benchmarks/families.py [--networks 20] [--space NAME ...]

Random networks of each shipped space are scaled to b1 … b7 in four directions: the paper's, equal
shares, mostly depth and mostly width. Printed by space: the distance of the realised FLOPs from
2^k (worst and mean) of this project's families, of the plain path (multipliers rounded to whole
layers, multiples of 8 and even pixels, with one parameter for the FLOPs), and of the published
formula at the same coefficients; and how many members have shares off the direction by more than
0.05.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from dataclasses import replace

from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import PAPER, compound
from nas.networks.cost import measure_cost
from nas.networks.scaled_family import scaled_family
from nas.networks.scaling_direction import Direction
from nas.spaces.registry import load_space

SPACES = ("efficientnet", "efficientnetv2", "mnasnet", "proxyless", "joint-block", "tiny")
DIRECTIONS = (
    Direction.of(PAPER),
    Direction(1 / 3, 1 / 3, 1 / 3),
    Direction(0.6, 0.2, 0.2),
    Direction(0.2, 0.6, 0.2),
)


def plain(baseline: Architecture, direction: Direction, doublings: float) -> Architecture:
    """Return the baseline with rounded multipliers, and nothing else."""
    depth, width, pixels = direction.multipliers(doublings)
    return replace(
        baseline,
        resolution=2 * round(baseline.resolution * pixels / 2),
        stem=replace(baseline.stem, width=8 * max(1, round(baseline.stem.width * width / 8))),
        stages=tuple(
            replace(
                stage,
                layers=stage.layers if stage.op == "skip" else round(stage.layers * depth),
                width=8 * max(1, round(stage.width * width / 8)),
            )
            for stage in baseline.stages
        ),
        head=replace(baseline.head, width=8 * round(baseline.head.width * width / 8)),
    )


def nearest_plain(baseline: Architecture, direction: Direction, doublings: int) -> float:
    """Return the FLOPs over 2^k of the plain path's network that is nearest."""
    target = 2**doublings * measure_cost(baseline).flops
    ratios = [
        measure_cost(plain(baseline, direction, doublings + step / 40)).flops / target
        for step in range(-20, 21)
    ]
    return min(ratios, key=lambda ratio: abs(ratio - 1))


def main() -> None:
    """Print a table, a line a space."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--space", action="append", choices=SPACES)
    options = parser.parse_args()
    print(f"{options.networks} networks a space, {len(DIRECTIONS)} directions, b1 … b7")
    print(
        f"{'':16}{'worst':>9}{'mean':>9}{'off shares':>12}{'no family':>11}"
        f"{'plain worst':>13}{'mean':>8}{'formula worst':>15}{'mean':>8}{'ms a family':>13}"
    )
    for name in options.space or SPACES:
        space = load_space(name)
        own: list[float] = []
        path: list[float] = []
        formula: list[float] = []
        off = refused = families = 0
        seconds = 0.0
        for seed in range(options.networks):
            baseline = space.decode(space.sample(random.Random(seed)))
            for direction in DIRECTIONS:
                scaled_family(baseline, direction)  # blocks are measured once
                start = time.perf_counter()
                try:
                    members = scaled_family(baseline, direction)
                except InputError:
                    refused += 1
                    continue
                seconds += time.perf_counter() - start
                families += 1
                own += [abs(member.deviation) for member in members[1:]]
                off += sum(not member.on_direction for member in members[1:])
                if seed < 3:
                    path += [abs(nearest_plain(baseline, direction, k) - 1) for k in range(1, 4)]
                    base = measure_cost(baseline).flops
                    formula += [
                        abs(
                            measure_cost(compound(baseline, direction.coefficients(), k)).flops
                            / base
                            / 2**k
                            - 1
                        )
                        for k in range(1, 4)
                    ]
        print(
            f"{name:16}{max(own):9.2%}{statistics.fmean(own):9.2%}{off:7} of {len(own)}"
            f"{refused:11}{max(path):13.1%}{statistics.fmean(path):8.1%}"
            f"{max(formula):15.1%}{statistics.fmean(formula):8.1%}"
            f"{1000 * seconds / families:13.0f}",
            flush=True,
        )
    print("plain path and formula: 3 networks a space, b1 … b3")


if __name__ == "__main__":
    main()
