"""Coefficients by published trainings, and by own ones besides."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

import nas
from nas.accuracy import Accuracy
from nas.files import validate
from nas.proxies.scaling_model import growth_terms
from nas.proxies.scaling_predictor import shipped_scaling
from nas.records.coefficients_file import CoefficientsFile, GrownRun
from nas.runs.coefficients import LIMITS, OUTSIDE, MeasuredGrowth, choose_coefficients
from nas.strategies.grown_networks import grown_networks

B0 = nas.load_architecture("efficientnet-b0")
FILE: TypeAdapter[CoefficientsFile] = TypeAdapter(CoefficientsFile)
WIDE = np.array([-0.1, -0.2, -0.1, *[0.04] * 3, 0, 0, 0])


@pytest.fixture(scope="module")
def measured() -> MeasuredGrowth:
    """Return trainings that say that width gains most."""
    networks = grown_networks(B0, 2e6, 32, False, 3, 10)
    rng = np.random.default_rng(0)

    def run(growth: tuple[float, float, float], images: int) -> GrownRun:
        change = float(growth_terms(np.array([growth]))[0] @ WIDE + rng.normal(0, 0.01))
        return GrownRun(
            images_seen=images, round=0, accuracy=Accuracy(1 - 0.7 * math.exp(change), 0.007)
        )

    return MeasuredGrowth(
        data="pictures",
        classes=10,
        flops=2_000_000,
        pixels=32,
        with_resolution=False,
        networks=tuple(networks),
        runs=tuple((run(n.growth, 3_000), run(n.growth, 12_000)) for n in networks),
    )


def test_without_trainings_the_prior_decides() -> None:
    chosen = choose_coefficients(B0)
    file = validate(FILE, chosen.to_dict(), "coefficients.json")
    assert file.training is None
    assert file.evidence.limits == LIMITS
    assert chosen.coefficients.product == pytest.approx(2, abs=0.001)
    assert [one.name for one in chosen.choice.compared][1:] == [
        "depth alone",
        "width alone",
        "resolution alone",
    ]
    assert "353 published trainings" in str(chosen)


def test_trainings_move_the_choice_and_that_is_said(measured: MeasuredGrowth) -> None:
    prior, chosen = choose_coefficients(B0), choose_coefficients(B0, measured)
    assert chosen.choice.direction.width > prior.choice.direction.width + 0.2
    assert chosen.training is not None
    assert chosen.training.moved > 0.2
    assert chosen.training.prior.model_dump() == pytest.approx(
        prior.choice.direction.shares(), abs=1e-4
    )
    assert "24 own trainings on pictures" in str(chosen)
    file = validate(FILE, chosen.to_dict(), "coefficients.json")
    assert file.training is not None
    assert len(file.training.points) == 12


def test_what_is_at_chance_level_does_not_count(measured: MeasuredGrowth) -> None:
    guessed = Accuracy(0.105, 0.004)
    failed = GrownRun(images_seen=3_000, round=0, accuracy=None)
    runs = tuple((failed, one.model_copy(update={"accuracy": guessed})) for _, one in measured.runs)
    chosen = choose_coefficients(B0, replace(measured, runs=runs))
    assert chosen.training is None
    assert chosen.choice == choose_coefficients(B0).choice


def test_outside_the_published_bases_the_nearest_counts() -> None:
    tiny = replace(B0, resolution=32)
    found = choose_coefficients(tiny)
    assert OUTSIDE in found.evidence.limits
    predictor = shipped_scaling()
    assert predictor.within(224, 4e8) == (224, 4e8)
    resolution, flops = predictor.within(32, 1e6)
    assert resolution == pytest.approx(160)
    assert predictor.within(resolution, flops) == pytest.approx((resolution, flops))
    assert predictor.within(1_000, 1e13)[0] == pytest.approx(288)
