"""Which directions of growth are measured: an optimal design over shares of the growth.

Along all directions a small network grows by the same factor, so the change of ln(error) is a
quadratic in the shares. The directions are those from which that quadratic is known best on the
average over all directions (I-optimality), found by exchange.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nas.networks.scaling_direction import Direction
from nas.strategies.scaling_choice import lattice

Floats = npt.NDArray[np.floating]

POINTS = 12
DOUBLINGS = 3.0
"""Each point has 2**3 times the FLOPs of the small network."""

_STEPS, _STEPS_ALONE = 6, 24
_RIDGE = 1e-6


def design_directions(with_resolution: bool, points: int = POINTS) -> list[Direction]:
    """Return the directions to measure, all different; the same for the same arguments.

    Args:
        with_resolution: False: only depth against width.
        points: how many; 6 at least, or 3 without resolution.
    """
    if with_resolution:
        candidates, everywhere = lattice(_STEPS), lattice(4 * _STEPS)
    else:
        candidates, everywhere = (_without_resolution(n) for n in (_STEPS_ALONE, 4 * _STEPS_ALONE))
    moments = _terms(everywhere).T @ _terms(everywhere) / len(everywhere)
    # From the first to the last by equal steps; the exchange finds the rest.
    chosen = np.linspace(0, len(candidates) - 1, points).round().astype(int).tolist()
    best = _variance(candidates[chosen], moments)
    improved = True
    while improved:
        improved = False
        for place in range(points):
            for other in set(range(len(candidates))) - set(chosen):
                swapped = [*chosen[:place], other, *chosen[place + 1 :]]
                value = _variance(candidates[swapped], moments)
                if value < best * (1 - 1e-9):
                    chosen, best, improved = swapped, value, True
    return [Direction(*(float(share) for share in candidates[place])) for place in sorted(chosen)]


def _without_resolution(steps: int) -> Floats:
    depth = np.arange(steps + 1) / steps
    return np.stack([depth, 1 - depth, np.zeros(steps + 1)], axis=1)


def _terms(shares: Floats) -> Floats:
    """Return the terms of a quadratic in shares whose sum is 1, (n, 6); of unused ones 0."""
    depth, width, resolution = shares.T
    return np.stack(
        [*shares.T, depth * width, depth * resolution, width * resolution], axis=1
    ) / math.sqrt(len(shares.T))


def _variance(shares: Floats, moments: Floats) -> float:
    """Return the mean variance of the quadratic over all directions, in units of the noise's."""
    terms = _terms(shares)
    information = terms.T @ terms + _RIDGE * np.eye(terms.shape[1])
    return float(np.trace(np.linalg.solve(information, moments)))
