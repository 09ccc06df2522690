"""The coefficients of a baseline, by what is known of scaled networks and what is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.accuracy import at_chance
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import Coefficients
from nas.networks.cost import measure_cost
from nas.proxies.scaling_measured import ScaledTraining, measured_surface
from nas.proxies.scaling_predictor import shipped_scaling
from nas.records.coefficients_file import (
    GrownPoint,
    GrownRun,
    GrowthMeasurement,
    ScalingEvidence,
    Shares,
)
from nas.strategies.grown_networks import GrownNetwork
from nas.strategies.scaling_choice import ScalingChoice, choose_direction, rounded_shares

ORIGIN = -math.log(4) / 3 * np.ones(3)
"""Where a small network lies that stands for the baseline: it has a quarter of its FLOPs."""

LIMITS = (
    "Other people's trainings on ImageNet, by their recipes, of networks near EfficientNet; error "
    "per FLOP alone"
)
"""Where the evidence of published trainings ends."""

OUTSIDE = (
    "The baseline is outside the range of their bases (160 to 288 pixels, 57M to 4.1G FLOPs at 224 "
    "pixels), so what is known of the nearest base is taken"
)

MEASURED_LIMITS = "Own trainings are short, and of small networks"
"""Where the evidence of own trainings ends."""

LEAST_RUNS = 4
"""Trainings that say something; with fewer the prior alone decides."""


@dataclass(frozen=True)
class MeasuredGrowth:
    """Grown networks with their trainings.

    Attributes:
        data: name of the images.
        classes: of them.
        flops: of the small network; ``pixels``: a side of its images.
        with_resolution: whether resolution grew.
        networks: that were trained.
        runs: of each.
    """

    data: str
    classes: int
    flops: int
    pixels: int
    with_resolution: bool
    networks: tuple[GrownNetwork, ...]
    runs: tuple[tuple[GrownRun, ...], ...]

    def trainings(self) -> list[ScaledTraining]:
        """Return what counts: what is at chance level says nothing of growth."""
        return [
            ScaledTraining(network.growth, run.images_seen, run.round, _log_error(run))
            for network, runs in zip(self.networks, self.runs, strict=True)
            for run in runs
            if run.accuracy is not None and not at_chance(run.accuracy, self.classes)
        ]

    def points(self) -> tuple[GrownPoint, ...]:
        """Return the networks as files hold them."""
        return tuple(
            GrownPoint(
                shares=Shares(**rounded_shares(network.direction)),
                growth=_rounded(network.growth),
                flops=network.flops,
                runs=runs,
            )
            for network, runs in zip(self.networks, self.runs, strict=True)
        )


@dataclass(frozen=True)
class ChosenCoefficients:
    """The direction in which a baseline grows, and what it was chosen by.

    Attributes:
        choice: the direction, with what is known of the best one.
        evidence: what that follows from.
        training: trainings on the user's images that count with it; None: there are none.
    """

    choice: ScalingChoice
    evidence: ScalingEvidence
    training: GrowthMeasurement | None = None

    @property
    def coefficients(self) -> Coefficients:
        """Alpha, beta and gamma."""
        return self.choice.coefficients

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``coefficients.json``."""
        training = None if self.training is None else self.training.model_dump(mode="json")
        return {
            **self.choice.to_dict(),
            "evidence": self.evidence.model_dump(),
            "training": training,
        }

    def __str__(self) -> str:
        """Return the coefficients and the kind of evidence."""
        return f"(α, β, γ) = {self.coefficients}, by {self.evidence.kind}"


def choose_coefficients(
    baseline: Architecture, measured: MeasuredGrowth | None = None
) -> ChosenCoefficients:
    """Return alpha, beta and gamma with which a baseline should grow.

    They follow from published trainings of networks that others scaled, and from own trainings
    where there are some. How far that carries, the result says: intervals of the shares, the
    probability that they are better than the paper's coefficients and than each dimension alone,
    the errors expected, and how far own trainings moved the choice.

    Args:
        baseline: the network to be scaled.
        measured: own trainings of small networks that have grown.
    """
    predictor = shipped_scaling()
    metadata = predictor.metadata
    flops = measure_cost(baseline).flops
    surface = predictor.surface(baseline.resolution, flops)
    outside = predictor.within(baseline.resolution, flops) != (baseline.resolution, flops)
    limits = f"{LIMITS}. {OUTSIDE}" if outside else LIMITS
    evidence = ScalingEvidence(
        kind=f"{metadata.trainings} published trainings in {len(metadata.groups)} groups",
        limits=limits,
        predictor=metadata.arrays_sha256,
        trainings=metadata.trainings,
        groups=len(metadata.groups),
    )
    prior = choose_direction(surface)
    trainings = [] if measured is None else measured.trainings()
    if measured is None or len(trainings) < LEAST_RUNS:
        return ChosenCoefficients(prior, evidence)
    found = measured_surface(surface, predictor.fit.between, ORIGIN, trainings)
    choice = choose_direction(found.surface)
    return ChosenCoefficients(
        choice,
        evidence.model_copy(
            update={
                "kind": f"{evidence.kind} and {len(trainings)} own trainings on {measured.data}",
                "limits": f"{limits}. {MEASURED_LIMITS}",
            }
        ),
        GrowthMeasurement(
            data=measured.data,
            flops=measured.flops,
            pixels=measured.pixels,
            with_resolution=measured.with_resolution,
            points=measured.points(),
            noise=round(found.noise, 5),
            prior=Shares(**rounded_shares(prior.direction)),
            moved=round(_moved(prior, choice), 4),
        ),
    )


def _rounded(growth: tuple[float, float, float]) -> tuple[float, float, float]:
    depth, width, resolution = growth
    return round(depth, 6), round(width, 6), round(resolution, 6)


def _log_error(run: GrownRun) -> float:
    """Return ln(error); no error at all counts as half an image's."""
    assert run.accuracy is not None
    mean, error = run.accuracy.mean, run.accuracy.standard_error
    images = mean * (1 - mean) / error**2 if error else 1_000.0
    return math.log(max(1 - mean, 0.5 / max(images, 1.0)))


def _moved(prior: ScalingChoice, choice: ScalingChoice) -> float:
    before, after = prior.direction.shares(), choice.direction.shares()
    return sum(abs(after[name] - before[name]) for name in before) / 2
