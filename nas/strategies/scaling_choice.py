"""The direction in which a family grows, chosen from the posterior of a scaling surface.

A family is judged as a whole: the loss of a direction is the mean change of ln(error) of its
members, of which b_k costs 2**k times as many FLOPs as the base. Surfaces are drawn from the
posterior; each has its best direction on a lattice, and the mean of these is chosen. The best
direction of the mean surface would be a corner where the posterior is wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.networks.compound_scaling import PAPER, Coefficients
from nas.networks.scaling_direction import DIMENSIONS, Direction

Floats = npt.NDArray[np.floating[Any]]

DECIDING = (1, 2, 3)
"""The members whose error decides: b1, b2 and b3."""

AGAINST_ONE = (1, 2, 3, 4)
"""Likewise where single dimensions are compared: to 16 times the FLOPs, since they saturate."""

PREDICTED = (1, 2, 3, 4, 5, 6, 7)
"""The members whose error is predicted."""

PAPERS = "the paper's coefficients"
"""What the paper's direction is called among those that the chosen one is compared with."""

DRAWS = 4_000
CREDIBLE = 0.90

_FINE, _COARSE = 60, 20
"""Steps of the lattice on which the best direction is sought, and of that of the picture."""

_NEAR_ZERO = 1 / _FINE
_CHUNK = 1_000


class Surface(Protocol):
    """What is known of the change of ln(error) with growth.

    Growths (n, 3) are in log FLOPs of depth, width and resolution.
    """

    def predict(self, growths: Floats) -> tuple[Floats, Floats]:
        """Return the mean change and its standard error, (n,) each."""
        ...

    def sampled_changes(self, growths: Floats, count: int, seed: int) -> Floats:
        """Return changes drawn from the posterior, (count, n).

        The same seed draws the same surfaces, whatever the growths.
        """
        ...


@dataclass(frozen=True)
class PredictedChange:
    """What is predicted of a member.

    Attributes:
        doublings: of the base's FLOPs.
        mean: change of ln(error) against the base; ``standard_error``: of it.
    """

    doublings: int
    mean: float
    standard_error: float


@dataclass(frozen=True)
class ComparedDirection:
    """A direction that the chosen one is compared with.

    Attributes:
        name: of it.
        direction: itself.
        probability: that the chosen direction has the lower loss.
        difference: mean loss along it minus that along the chosen direction.
        interval: 90 % interval of the difference.
    """

    name: str
    direction: Direction
    probability: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class ScalingChoice:
    """The direction that was chosen, and what is known of the best one.

    Attributes:
        direction: chosen: the posterior mean of the best direction.
        intervals: of each share of the best direction, its 90 % interval.
        deciding: the members by which families are judged.
        regret: expected excess of the loss of the chosen direction over that of the best one.
        paper_regret: likewise of the paper's direction.
        members: what is predicted of b1 … b7 along the chosen direction.
        compared: the paper's direction, by ``deciding``, and each dimension alone, by b1 … b4.
        lattice: directions, as shares of depth, width and resolution.
        mass: the probability that the best direction is near each of them; the sum is 1.
        draws: surfaces drawn; ``seed``: with which.
    """

    direction: Direction
    intervals: dict[str, tuple[float, float]]
    deciding: tuple[int, ...]
    regret: float
    paper_regret: float
    members: tuple[PredictedChange, ...]
    compared: tuple[ComparedDirection, ...]
    lattice: tuple[tuple[float, float, float], ...]
    mass: tuple[float, ...]
    draws: int
    seed: int

    @property
    def coefficients(self) -> Coefficients:
        """Alpha, beta and gamma, rounded to four places."""
        found = self.direction.coefficients()
        return Coefficients(round(found.alpha, 4), round(found.beta, 4), round(found.gamma, 4))

    @property
    def may_be_zero(self) -> tuple[str, ...]:
        """The dimensions whose share may be 0: their interval reaches it."""
        return tuple(name for name, (low, _) in self.intervals.items() if low < _NEAR_ZERO)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, rounded."""
        return {
            **asdict(self.coefficients),
            "shares": rounded_shares(self.direction),
            "intervals": {
                name: [round(end, 4) for end in ends] for name, ends in self.intervals.items()
            },
            "may_be_zero": list(self.may_be_zero),
            "deciding": list(self.deciding),
            "regret": round(self.regret, 5),
            "paper_regret": round(self.paper_regret, 5),
            "members": [
                {
                    "doublings": one.doublings,
                    "mean": round(one.mean, 5),
                    "standard_error": round(one.standard_error, 5),
                }
                for one in self.members
            ],
            "compared": [
                {
                    "name": one.name,
                    "shares": rounded_shares(one.direction),
                    "probability": round(one.probability, 4),
                    "difference": round(one.difference, 5),
                    "interval": [round(end, 5) for end in one.interval],
                }
                for one in self.compared
            ],
            "posterior": {
                "shares": [[round(share, 4) for share in node] for node in self.lattice],
                "mass": [round(value, 6) for value in self.mass],
            },
            "draws": self.draws,
            "seed": self.seed,
        }

    def __str__(self) -> str:
        """Return the shares of the growth with their 90 % intervals, in percent."""
        return ", ".join(
            f"{name} {100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
            for (name, share), (low, high) in zip(
                self.direction.shares().items(), self.intervals.values(), strict=True
            )
        )


def choose_direction(
    surface: Surface,
    deciding: tuple[int, ...] = DECIDING,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> ScalingChoice:
    """Return the direction in which a family should grow; the same for the same arguments.

    Args:
        surface: of the base.
        deciding: doublings of the FLOPs of the members that count.
        draws: surfaces drawn from the posterior.
        seed: of the draws.

    Raises:
        InputError: no members or no draws.
    """
    best = best_directions(surface, deciding, draws=draws, seed=seed)
    chosen = _mean(best)
    least = _losses(surface, lattice(_FINE), deciding, draws, seed).min(axis=1)
    papers = Direction.of(PAPER)

    def excess(direction: Direction) -> float:
        losses = _losses(surface, _rows([direction]), deciding, draws, seed)[:, 0]
        return max(0.0, float((losses - least).mean()))

    def against(name: str, other: Direction, members: tuple[int, ...]) -> ComparedDirection:
        losses = _losses(surface, _rows([chosen, other]), members, draws, seed)
        gaps = losses[:, 1] - losses[:, 0]
        ends = tuple(float(end) for end in np.quantile(gaps, _ends()))
        return ComparedDirection(
            name, other, float((gaps > 0).mean()), float(gaps.mean()), (ends[0], ends[1])
        )

    low, high = np.quantile(best, _ends(), axis=0)
    changes = surface.predict(np.outer(np.array(PREDICTED) * math.log(2), _rows([chosen])[0]))
    coarse = lattice(_COARSE)
    return ScalingChoice(
        direction=chosen,
        intervals={name: (float(low[i]), float(high[i])) for i, name in enumerate(DIMENSIONS)},
        deciding=tuple(deciding),
        regret=excess(chosen),
        paper_regret=excess(papers),
        members=tuple(
            PredictedChange(k, float(mean), float(error))
            for k, mean, error in zip(PREDICTED, *changes, strict=True)
        ),
        compared=(
            against(PAPERS, papers, tuple(deciding)),
            *(against(f"{name} alone", Direction.along(name), AGAINST_ONE) for name in DIMENSIONS),
        ),
        lattice=tuple((float(a), float(b), float(c)) for a, b, c in coarse),
        mass=tuple(_mass(best, coarse).tolist()),
        draws=draws,
        seed=seed,
    )


def best_directions(
    surface: Surface, deciding: tuple[int, ...] = DECIDING, *, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Return the best direction of each drawn surface, as shares, (draws, 3).

    Resolution alone is not among them: a network's parameters would not grow.

    Raises:
        InputError: no members or no draws.
    """
    if not deciding or min(deciding) < 1:
        raise InputError(f"members: {deciding} are not accepted: doublings from 1")
    if draws < 1:
        raise InputError(f"draws: {draws} is not accepted: at least 1")
    nodes = lattice(_FINE)
    nodes = nodes[nodes[:, 2] < 1]
    best: Floats = nodes[_losses(surface, nodes, deciding, draws, seed).argmin(axis=1)]
    return best


def lattice(steps: int) -> Floats:
    """Return all shares of depth, width and resolution in steps of 1 / ``steps``, (n, 3)."""
    whole = [
        (depth, width, steps - depth - width)
        for depth in range(steps + 1)
        for width in range(steps + 1 - depth)
    ]
    return np.array(whole, dtype=np.float64) / steps


def rounded_shares(direction: Direction) -> dict[str, float]:
    """Return the shares of a direction as they are written."""
    return {name: round(share, 4) for name, share in direction.shares().items()}


def _mean(shares: Floats) -> Direction:
    middle = shares.mean(axis=0)
    return Direction(*(float(share) for share in middle / middle.sum()))


def _losses(
    surface: Surface, shares: Floats, members: tuple[int, ...], draws: int, seed: int
) -> Floats:
    """Return the mean change of ln(error) of a family's members, (draws, directions)."""
    total = np.zeros((draws, len(shares)))
    for k in members:
        total += surface.sampled_changes(k * math.log(2) * shares, draws, seed)
    return total / len(members)


def _rows(directions: Iterable[Direction]) -> Floats:
    return np.array([list(direction.shares().values()) for direction in directions])


def _ends() -> tuple[float, float]:
    return (1 - CREDIBLE) / 2, (1 + CREDIBLE) / 2


def _mass(best: Floats, nodes: Floats) -> Floats:
    """Return the density of the best directions at the nodes, as shares of the whole, (nodes,).

    Each direction counts for the nodes around it by a Gaussian kernel, whose width is the
    distance of neighbouring nodes: without it the noise of the draws would show.
    """
    whole = np.zeros(len(nodes))
    for start in range(0, len(best), _CHUNK):
        part = best[start : start + _CHUNK]
        # Neighbours differ by one step in two shares.
        squares = ((part[:, None, :] - nodes[None]) ** 2).sum(axis=2) * _COARSE**2 / 2
        weights = np.exp(-squares / 2)
        whole += (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0)
    return whole / len(best)
