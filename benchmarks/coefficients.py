"""How much error a choice of coefficients costs: prior and measurement, and what else one could do.

    python benchmarks/coefficients.py [--worlds 400] [--seed 0]

Worlds are drawn in which the change of ln(error) is a known quadratic of growth, and networks are
"trained" in them: with noise, with effects of short training that fade with its length, and with
small networks that gain otherwise than large ones. Regret is how much more error the chosen
direction leads to, at 4.6 times the FLOPs, than the best direction of that world: in percent of the
error, and in points where the error is 25 %.

Ways to choose:

- prior: published trainings alone.
- prior and training: these and 24 trainings of small networks, as a run with images does it.
- training alone: the same trainings, with a prior that says nothing but that returns diminish.
- grid: what this project did before: the 12 triples that its last run on CIFAR-10 compared, at
  about twice the FLOPs, each trained for 4,000 images, the better half with two seeds and a quarter
  with three; of those not significantly different from the best the most even one. Noise, effects
  of short training and the spread of costs as trained are those of that run.
- the paper's triple, equal shares, and each dimension alone: no measurement.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from nas.networks.compound_scaling import PAPER, Coefficients
from nas.networks.scaling_direction import Direction
from nas.proxies.scaling_measured import ScaledTraining, measured_surface
from nas.proxies.scaling_model import PARAMETERS, ScalingSurface, growth_terms
from nas.proxies.scaling_predictor import shipped_scaling
from nas.runs.coefficients import ORIGIN
from nas.statistics import compare
from nas.strategies.scaling_choice import choose_direction, lattice
from nas.strategies.scaling_design import DOUBLINGS, design_directions

Floats = npt.NDArray[np.floating]

FLOPS = 4.6
NOISE = 0.02
"""Of ln(error), from seed to seed."""

LONG, SHORT = 15_000, 5_000
"""Training images."""

GRID_NOISE, GRID_SHORT, GRID_COST = 0.03, (0.1, 0.04), 0.09
"""Of the grid's trainings: noise; effects of short training on slopes and curvatures; spread of the
log FLOPs as trained."""

GRID = (
    (1.0, 1.11, 1.3),
    (1.0, 1.03, 1.33),
    (1.0, 1.01, 1.43),
    (1.0, 1.06, 1.37),
    (1.0, 1.4, 1.0),
    (1.75, 1.0, 1.01),
    (1.75, 1.02, 1.01),
    (1.33, 1.08, 1.01),
    (1.33, 1.11, 1.01),
    (1.81, 1.05, 1.0),
    (1.25, 1.11, 1.01),
    (1.76, 1.1, 1.0),
)
"""The triples of the grid."""

SLOPE = -0.15
"""Of ln(error) in log FLOPs, on the average: what unequal costs change."""

ERROR = 25.0
"""Percent, of which points are a share."""


class World:
    """What growth really does to ln(error), and trainings that say it with errors."""

    def __init__(self, mean: Floats, rng: np.random.Generator, fading: float) -> None:
        self._mean, self._rng, self._fading = mean, rng, fading
        small = rng.normal(0, np.repeat((0.018, 0.01), (3, 6)))
        self._small = ScalingSurface(mean + small, np.zeros((PARAMETERS, PARAMETERS)))
        # What short training does to slopes and to curvatures, at the longest length.
        self._short = rng.normal(0, np.repeat((0.04, 0.016), (3, 6)))
        self._grid_short = rng.normal(0, np.repeat(GRID_SHORT, (3, 6)))

    def losses(self, shares: Floats) -> Floats:
        """Return the true change of ln(error) along directions (n, 3)."""
        return growth_terms(math.log(FLOPS) * shares) @ self._mean

    def trained(self, growths: Floats, images: int, origin: Floats) -> Floats:
        """Return ln(error) of networks that grew from a small one at ``origin``, (n,)."""
        surface = self._small.recentred(origin)
        short = (LONG / images) ** self._fading * growth_terms(growths) @ self._short
        noise = self._rng.normal(0, NOISE, len(growths))
        level = self._rng.normal(-0.5, 0.05)
        return level + growth_terms(growths) @ surface.mean + short + noise

    def grid_costs(self, count: int) -> Floats:
        """Return by how much the grid's networks differ in log FLOPs as they are trained, (n,)."""
        return self._rng.normal(0, GRID_COST, count)

    def grid_trained(self, growths: Floats, costs: Floats) -> Floats:
        """Return ln(error) of the grid's networks, (n,)."""
        changes = growth_terms(growths) @ (self._mean + self._grid_short)
        return changes + SLOPE * costs + self._rng.normal(0, GRID_NOISE, len(growths))


def drawn_as_published(rng: np.random.Generator) -> Floats:
    """Return parameters drawn from what published trainings say."""
    surface = shipped_scaling().surface()
    return rng.multivariate_normal(surface.mean, surface.covariance)


def drawn_widely(rng: np.random.Generator) -> Floats:
    """Return parameters of which nothing is known but their size."""
    slopes = rng.normal(-0.15, 0.03, 3)
    return np.array([*slopes, *rng.uniform(0.02, 0.10, 3), *rng.normal(0, 0.02, 3)])


@cache
def _prior() -> Direction:
    return choose_direction(shipped_scaling().surface(), draws=1_000).direction


def by_prior(world: World, with_resolution: bool) -> Direction:
    return _prior()


def _measured(world: World, with_resolution: bool, prior: ScalingSurface) -> Direction:
    shares = np.array(
        [list(d.shares().values()) for d in design_directions(with_resolution)], dtype=float
    )
    growths = DOUBLINGS * math.log(2) * shares
    trainings = [
        ScaledTraining(tuple(growth), images, 0, float(value))
        for images in (SHORT, LONG)
        for growth, value in zip(growths, world.trained(growths, images, ORIGIN), strict=True)
    ]
    found = measured_surface(prior, shipped_scaling().fit.between, ORIGIN, trainings)
    return choose_direction(found.surface, draws=1_000).direction


def by_both(world: World, with_resolution: bool) -> Direction:
    return _measured(world, with_resolution, shipped_scaling().surface())


def by_training(world: World, with_resolution: bool) -> Direction:
    vague = np.repeat((0.1, 0.02, 0.02), 3) ** 2
    mean = np.repeat((-0.15, 0.06, 0.0), 3)
    return _measured(world, with_resolution, ScalingSurface(mean, np.diag(vague)))


def by_grid(world: World, with_resolution: bool) -> Direction:
    """Choose by successive halving, without a model."""
    points = [Direction.of(Coefficients(*triple)) for triple in GRID]
    shares = np.array([list(point.shares().values()) for point in points])
    costs = world.grid_costs(len(points))
    alive = list(range(len(points)))
    scores: list[dict[int, float]] = [{} for _ in points]
    for turn, size in enumerate((12, 6, 3)):
        alive = sorted(alive, key=lambda i: -np.mean([*scores[i].values(), 0.0][: turn or 1]))
        alive = alive[:size]
        values = world.grid_trained(math.log(2) * shares[alive], costs[alive])
        for place, value in zip(alive, values, strict=True):
            scores[place][turn] = -float(value)
    found = compare(scores)
    best = max(alive, key=lambda i: found.means[i])
    tied = [i for i in alive if i == best or not found.difference(i, best).real]
    return points[min(tied, key=lambda i: (float(np.ptp(shares[i])), -found.means[i]))]


def fixed(direction: Direction) -> Callable[[World, bool], Direction]:
    return lambda world, with_resolution: direction


WAYS: dict[str, Callable[[World, bool], Direction]] = {
    "prior": by_prior,
    "prior and training": by_both,
    "training alone": by_training,
    "grid": by_grid,
    "the paper's triple": fixed(Direction.of(PAPER)),
    "equal shares": fixed(Direction(1 / 3, 1 / 3, 1 / 3)),
    "depth alone": fixed(Direction.along("depth")),
    "width alone": fixed(Direction.along("width")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    nodes = lattice(40)
    for name, draw, fading, with_resolution in (
        ("as published", drawn_as_published, 0.5, True),
        ("as published, resolution not measured", drawn_as_published, 0.5, False),
        ("as published, short training fades faster", drawn_as_published, 1.0, True),
        ("as published, short training fades slower", drawn_as_published, 0.25, True),
        ("wide", drawn_widely, 0.5, True),
    ):
        regrets: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(args.worlds):
            rng = np.random.default_rng([args.seed, number])
            world = World(draw(rng), rng, fading)
            least = float(world.losses(nodes).min())
            for way, choose in WAYS.items():
                own = choose(world, with_resolution)
                loss = float(world.losses(np.array([list(own.shares().values())]))[0])
                regrets[way].append(100 * math.expm1(loss - least))
        print(f"\n{args.worlds} worlds, {name}: regret, with its standard error")
        for way, values in regrets.items():
            mean, error = np.mean(values), np.std(values) / math.sqrt(len(values))
            print(
                f"{way:22s} {mean:6.2f} ± {error:.2f} % of the error   "
                f"{ERROR * mean / 100:5.2f} ± {ERROR * error / 100:.2f} points"
            )


if __name__ == "__main__":
    main()
