"""The directions that are measured."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nas.networks.scaling_direction import Direction
from nas.strategies.scaling_choice import lattice
from nas.strategies.scaling_design import POINTS, design_directions


def _mean_variance(shares: np.ndarray) -> float:
    def terms(s: np.ndarray) -> np.ndarray:
        depth, width, resolution = s.T
        return np.stack([*s.T, depth * width, depth * resolution, width * resolution], axis=1)

    own, everywhere = terms(shares), terms(lattice(20))
    inverse = np.linalg.inv(own.T @ own + 1e-9 * np.eye(6))
    return float(np.einsum("ni,ij,nj->n", everywhere, inverse, everywhere).mean())


def _shares(directions: list[Direction]) -> np.ndarray:
    return np.array([list(one.shares().values()) for one in directions])


@pytest.mark.parametrize("with_resolution", [True, False])
def test_the_directions_are_different_and_hold_the_corners(with_resolution: bool) -> None:
    found = design_directions(with_resolution)
    assert len({tuple(one.shares().values()) for one in found}) == len(found) == POINTS
    corners = [Direction.along("depth"), Direction.along("width")]
    corners += [Direction.along("resolution")] if with_resolution else []
    assert all(corner in found for corner in corners)
    assert with_resolution or all(one.resolution == 0 for one in found)


def test_no_random_design_is_better() -> None:
    own = _mean_variance(_shares(design_directions(True)))
    nodes = lattice(6)
    rng = random.Random(0)
    others = [_mean_variance(nodes[rng.sample(range(len(nodes)), POINTS)]) for _ in range(300)]
    assert own < min(others)
