"""The direction chosen by a posterior."""

from __future__ import annotations

import numpy as np
import pytest

from nas.networks.scaling_direction import DIMENSIONS
from nas.proxies.scaling_model import PARAMETERS, ScalingSurface
from nas.proxies.scaling_predictor import shipped_scaling
from nas.strategies.scaling_choice import choose_direction, lattice


def surface(slopes: tuple[float, float, float], curvature: float, spread: float) -> ScalingSurface:
    mean = np.array([*slopes, *[curvature] * 3, 0.0, 0.0, 0.0])
    return ScalingSurface(mean, spread**2 * np.eye(PARAMETERS))


def test_a_surface_that_is_known_decides() -> None:
    choice = choose_direction(surface((-0.2, -0.1, -0.1), 0.0, 1e-6))
    assert choice.direction.depth == pytest.approx(1, abs=0.02)
    alike = choose_direction(surface((-0.15, -0.15, -0.15), 0.05, 1e-6))
    assert list(alike.direction.shares().values()) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert all(one.probability == 1 for one in alike.compared)
    assert alike.regret < 1e-3


def test_where_nothing_is_known_the_middle_is_chosen_and_said() -> None:
    choice = choose_direction(surface((-0.15, -0.15, -0.15), 0.02, 0.05))
    assert list(choice.direction.shares().values()) == pytest.approx([1 / 3] * 3, abs=0.05)
    assert choice.may_be_zero == DIMENSIONS
    assert choice.regret > 0.01


def test_the_choice_for_b0() -> None:
    choice = choose_direction(shipped_scaling().surface())
    assert choice.to_dict() == choose_direction(shipped_scaling().surface()).to_dict()
    assert sum(choice.mass) == pytest.approx(1)
    coefficients = choice.direction.coefficients()
    assert coefficients.product == pytest.approx(2)
    assert choice.regret <= choice.paper_regret
    for low, high in choice.intervals.values():
        assert 0 <= low <= high <= 1


def test_lattices_hold_shares() -> None:
    nodes = lattice(10)
    assert len(nodes) == 66
    assert nodes.sum(1) == pytest.approx(np.ones(66))
    assert nodes.min() >= -1e-12
