"""The direction in which a family grows, chosen from the posterior of a scaling surface.

A family is judged as a whole: the loss of a direction is the mean change of ln(top-1 error) of its
members, of which b_k costs 2**k times as many FLOPs as the base. Surfaces are drawn from the
posterior; each has its best direction on a lattice, and the mean of these is chosen. The best
direction of the mean surface would be a corner where the posterior is wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.networks.compound_scaling import PAPER
from nas.networks.scaling_direction import Direction

Floats = npt.NDArray[np.floating[Any]]

MEMBERS = (1, 2, 3)
"""The members by which families are judged: b1, b2 and b3."""

SINGLE_MEMBERS = (1, 2, 3, 4)
"""Likewise where single dimensions are compared: to 16 times the FLOPs, since they saturate."""

DRAWS = 4_000
CREDIBLE = 0.90

_FINE, _COARSE = 60, 20
"""Steps of the lattice on which the best direction is sought, and of that of the picture."""

_NEAR_ZERO = 1 / _FINE
_CHUNK = 1_000
_NAMES = ("depth", "width", "resolution")


class Surface(Protocol):
    """What is known of the change of ln(top-1 error) with growth."""

    def sampled_changes(self, growths: Floats, count: int, seed: int) -> Floats:
        """Return changes drawn from the posterior, (count, n), for growths (n, 3).

        Growths are in log FLOPs of depth, width and resolution. The same seed draws the same
        surfaces, whatever the growths.
        """
        ...


@dataclass(frozen=True)
class ScalingChoice:
    """The direction that was chosen, and what is known of the best one.

    Attributes:
        direction: chosen: the posterior mean of the best direction.
        intervals: of each share of the best direction, its 90 % interval.
        members: by which families are judged.
        lattice: directions, as shares of depth, width and resolution.
        mass: the probability that the best direction is near each of them; the sum is 1.
        region: whether each of them is in the 90 % credible region, the smallest by mass.
        better_than: probability that the chosen direction is better than each single dimension
            (b1 to b4) and than the paper's, ``"paper"`` (by ``members``).
        regret: expected excess of ln(error) of the chosen direction over the best;
            ``paper_regret``: of the paper's.
        draws: surfaces drawn; ``seed``: with which.
    """

    direction: Direction
    intervals: dict[str, tuple[float, float]]
    members: tuple[int, ...]
    lattice: tuple[tuple[float, float, float], ...]
    mass: tuple[float, ...]
    region: tuple[bool, ...]
    better_than: dict[str, float]
    regret: float
    paper_regret: float
    draws: int
    seed: int

    @property
    def reach_zero(self) -> tuple[str, ...]:
        """The dimensions whose share may be 0: their interval reaches it."""
        return tuple(name for name, (low, _) in self.intervals.items() if low < _NEAR_ZERO)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, rounded."""
        own = self.direction.coefficients()
        return {
            "alpha": round(own.alpha, 4),
            "beta": round(own.beta, 4),
            "gamma": round(own.gamma, 4),
            "shares": {name: round(share, 4) for name, share in self.direction.shares().items()},
            "intervals_90": {
                name: [round(end, 4) for end in ends] for name, ends in self.intervals.items()
            },
            "reach_zero": list(self.reach_zero),
            "members": list(self.members),
            "probability_better_than": {
                name: round(value, 4) for name, value in self.better_than.items()
            },
            "expected_regret": {
                "chosen": {"ln_error": round(self.regret, 5), "relative": _relative(self.regret)},
                "paper": {
                    "ln_error": round(self.paper_regret, 5),
                    "relative": _relative(self.paper_regret),
                },
            },
            "posterior": {
                "shares": [[round(share, 4) for share in node] for node in self.lattice],
                "mass": [round(value, 6) for value in self.mass],
                "region_90": list(self.region),
            },
            "draws": self.draws,
            "seed": self.seed,
        }


def choose_direction(
    surface: Surface,
    members: tuple[int, ...] = MEMBERS,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> ScalingChoice:
    """Return the direction in which a family should grow; the same for the same arguments.

    Args:
        surface: of the base.
        members: doublings of the FLOPs of the members that count.
        draws: surfaces drawn from the posterior.
        seed: of the draws.

    Raises:
        InputError: no members or no draws.
    """
    best = best_directions(surface, members, draws=draws, seed=seed)
    shares = best.mean(axis=0)
    chosen = Direction(*(float(share) for share in shares / shares.sum()))
    paper = Direction.of(PAPER)
    alone = [_row(Direction(*(float(i == j) for j in range(3)))) for i in range(3)]
    singles = np.concatenate([_row(chosen), *alone])
    to_sixteen = _losses(surface, singles, SINGLE_MEMBERS, draws, seed)
    both = _losses(surface, np.concatenate([_row(chosen), _row(paper)]), members, draws, seed)
    least = _least(surface, members, draws, seed)
    better = {
        name: float((to_sixteen[:, 0] < to_sixteen[:, 1 + place]).mean())
        for place, name in enumerate(_NAMES)
    }
    low, high = np.quantile(best, [(1 - CREDIBLE) / 2, (1 + CREDIBLE) / 2], axis=0)
    coarse = lattice(_COARSE)
    mass = _mass(best, coarse)
    return ScalingChoice(
        direction=chosen,
        intervals={name: (float(low[i]), float(high[i])) for i, name in enumerate(_NAMES)},
        members=tuple(members),
        lattice=tuple((float(a), float(b), float(c)) for a, b, c in coarse),
        mass=tuple(mass.tolist()),
        region=tuple(_region(mass).tolist()),
        better_than={**better, "paper": float((both[:, 0] < both[:, 1]).mean())},
        regret=max(0.0, float((both[:, 0] - least).mean())),
        paper_regret=max(0.0, float((both[:, 1] - least).mean())),
        draws=draws,
        seed=seed,
    )


def best_directions(
    surface: Surface, members: tuple[int, ...] = MEMBERS, *, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Return the best direction of each drawn surface, as shares, (draws, 3).

    Resolution alone is not among them: a network's parameters would not grow.

    Raises:
        InputError: no members or no draws.
    """
    if not members or min(members) < 1:
        raise InputError(f"members: {members} are not accepted: doublings from 1")
    if draws < 1:
        raise InputError(f"draws: {draws} is not accepted: at least 1")
    nodes = lattice(_FINE)
    nodes = nodes[nodes[:, 2] < 1]
    best: Floats = nodes[_losses(surface, nodes, members, draws, seed).argmin(axis=1)]
    return best


def lattice(steps: int) -> Floats:
    """Return all shares of depth, width and resolution in steps of 1 / ``steps``, (n, 3)."""
    whole = [
        (depth, width, steps - depth - width)
        for depth in range(steps + 1)
        for width in range(steps + 1 - depth)
    ]
    return np.array(whole, dtype=np.float64) / steps


def _least(surface: Surface, members: tuple[int, ...], draws: int, seed: int) -> Floats:
    """Return the loss of the best direction of each drawn surface, (draws,)."""
    least: Floats = _losses(surface, lattice(_FINE), members, draws, seed).min(axis=1)
    return least


def _losses(
    surface: Surface, shares: Floats, members: tuple[int, ...], draws: int, seed: int
) -> Floats:
    """Return the mean change of ln(error) of a family's members, (draws, directions)."""
    total = np.zeros((draws, len(shares)))
    for k in members:
        total += surface.sampled_changes(k * math.log(2) * shares, draws, seed)
    return total / len(members)


def _row(direction: Direction) -> Floats:
    return np.array([list(direction.shares().values())])


def _mass(best: Floats, nodes: Floats) -> Floats:
    """Return the share of the best directions that is nearest to each node, (nodes,)."""
    counts = np.zeros(len(nodes))
    for start in range(0, len(best), _CHUNK):
        part = best[start : start + _CHUNK]
        distance = ((part[:, None, :] - nodes[None]) ** 2).sum(axis=2)
        counts += np.bincount(distance.argmin(axis=1), minlength=len(nodes))
    return counts / len(best)


def _region(mass: Floats) -> npt.NDArray[np.bool_]:
    """Return the fewest nodes that hold the credible mass, (nodes,)."""
    order = np.argsort(-mass, kind="stable")
    before = np.cumsum(mass[order]) - mass[order]
    inside = np.zeros(len(mass), dtype=np.bool_)
    inside[order[before < CREDIBLE]] = True
    return inside


def _relative(change: float) -> float:
    return round(math.expm1(change), 5)
