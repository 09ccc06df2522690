"""What is known after own trainings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.proxies.scaling_measured import NOISE, ScaledTraining, measured_surface
from nas.proxies.scaling_model import PARAMETERS, ScalingSurface, growth_terms
from nas.proxies.scaling_predictor import shipped_scaling
from nas.strategies.scaling_choice import choose_direction
from nas.strategies.scaling_design import design_directions

ORIGIN = -math.log(4) / 3 * np.ones(3)
GROWTHS = math.log(8) * np.array([list(d.shares().values()) for d in design_directions(True)])
PRIOR = shipped_scaling().surface()
DEVIATION = shipped_scaling().fit.between
WIDE = np.array([-0.1, -0.2, -0.1, *[0.04] * 3, 0, 0, 0])
NONE = np.zeros(PARAMETERS)


def trained(
    lasting: np.ndarray, fading: np.ndarray = NONE, noise: float = 0.005, level: float = -0.5
) -> list[ScaledTraining]:
    """Return trainings of a world in which growth changes this, and that after short training."""
    rng = np.random.default_rng(0)
    return [
        ScaledTraining(
            tuple(growth),
            images,
            0,
            level
            + float(growth_terms(growth[None])[0] @ (lasting + fading * (12_000 / images) ** 0.5))
            + float(rng.normal(0, noise)),
        )
        for images in (3_000, 12_000)
        for growth in GROWTHS
    ]


def chosen(trainings: list[ScaledTraining]) -> dict[str, float]:
    found = measured_surface(PRIOR, DEVIATION, ORIGIN, trainings)
    return choose_direction(found.surface, draws=500).direction.shares()


def test_trainings_move_the_choice_where_they_say_something() -> None:
    before = choose_direction(PRIOR, draws=500).direction.shares()
    after = chosen(trained(WIDE))
    assert after["width"] > before["width"] + 0.2


def test_what_only_short_training_says_is_not_taken_for_more() -> None:
    before = choose_direction(PRIOR, draws=500).direction.shares()
    # After 12,000 images depth gains a third less than it should, after 3,000 two thirds.
    harm = np.array([0.06, 0.0, 0.0, *[0.0] * 6])
    lasting = PRIOR.mean
    after = chosen(trained(lasting, harm))
    taken_for_more = chosen(trained(lasting + harm))
    assert taken_for_more["depth"] < after["depth"] - 0.05
    assert after["depth"] > before["depth"] - 0.25


def test_the_common_level_does_not_count() -> None:
    low, high = chosen(trained(WIDE, level=-2.0)), chosen(trained(WIDE, level=-0.2))
    assert low == pytest.approx(high, abs=0.02)


def test_noise_is_estimated_and_leaves_the_prior() -> None:
    before = choose_direction(PRIOR, draws=500).direction.shares()
    quiet = measured_surface(PRIOR, DEVIATION, ORIGIN, trained(WIDE))
    loud = measured_surface(PRIOR, DEVIATION, ORIGIN, trained(WIDE, noise=0.3))
    assert quiet.noise < NOISE < loud.noise
    assert choose_direction(loud.surface, draws=500).direction.shares() == pytest.approx(
        before, abs=0.2
    )
    narrower = np.diag(quiet.surface.covariance) < np.diag(PRIOR.covariance)
    assert narrower[:3].all()


def test_surfaces_stay_valid_with_few_trainings() -> None:
    found = measured_surface(PRIOR, DEVIATION, ORIGIN, trained(WIDE)[:2])
    assert isinstance(found.surface, ScalingSurface)
    assert np.linalg.eigvalsh(found.surface.covariance).min() > -1e-9
