"""How well the scaling surface predicts groups of networks that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from nas.environment import one_thread
from nas.proxies.scaling_fit import (
    ScalingFit,
    ScalingHyperparameters,
    fit_scaling,
    fit_with,
    group_covariance,
)
from nas.proxies.scaling_model import Floats, growth_terms
from nas.proxies.scaling_table import ScalingTrainings
from nas.statistics import Z90, interval, resample

INDEPENDENT = 0.25
"""The dimensions of a group vary independently where the second singular value of its centred
growths is at least this part of the first; 0: all its networks lie on a line."""

NEAR_FLOPS = 0.10
"""Pairs are ordered whose FLOPs differ by at most this part."""

APART = 0.005
"""Pairs are ordered whose top-1 accuracies differ by at least this."""

PLAIN = ScalingHyperparameters(
    slope_mean=0.0,
    slope_deviation=0.5,
    curvature_mean=0.0,
    curvature_deviation=0.05,
    interaction_deviation=0.05,
    group_slope=0.0,
    group_curvature=0.0,
    noise=0.02,
    digitised_noise=0.02,
    untypical_factor=1.0,
    size_share=0.0,
)
"""A ridge regression with an intercept a group, to compare with: all parameters are shrunk to 0,
no group has slopes of its own, and all bases are as large as EfficientNet-B0."""

Held = Literal["group", "base"]
Say = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class HeldOutGroup:
    """Predictions for a group that the fit has not seen, beside what was published.

    Attributes:
        name: of the group.
        predicted: ln(error) less a quadratic in ln FLOPs, (n,); ``published``: likewise.
        ordered: of the pairs of alike FLOPs and different accuracy, how many are ordered rightly.
        pairs: how many such pairs there are.
        covered: share of all differences within the group inside their 90 % intervals.
        differences: how many differences there are.
    """

    name: str
    predicted: Floats
    published: Floats
    ordered: int
    pairs: int
    covered: float
    differences: int

    @property
    def correlation(self) -> float:
        """Of predicted and published ln(error), a quadratic in ln FLOPs removed from both."""
        return _correlation(
            float(self.predicted @ self.published),
            float(self.predicted @ self.predicted),
            float(self.published @ self.published),
        )


class ScalingGroupScores(BaseModel):
    """Of one held-out group; see :class:`HeldOutGroup`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    group: str
    networks: int
    correlation: float
    ordered: int
    pairs: int
    coverage_90: float


class ScalingScores(BaseModel):
    """What the surface reaches on held-out groups; intervals (95 %) are a bootstrap over groups.

    Attributes:
        held_out: what a fold leaves out: the group, or all groups of its base's family.
        mean_correlation: mean over the groups; ``pooled_correlation``: of all networks together.
        ordered: share of the pairs ordered rightly, of ``pairs``; ``coverage_90``: share of the
            differences inside their 90 % intervals, pooled.
        groups: one by one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    held_out: Held
    mean_correlation: float
    mean_correlation_ci95: tuple[float, float]
    pooled_correlation: float
    pooled_correlation_ci95: tuple[float, float]
    ordered: float
    ordered_ci95: tuple[float, float]
    pairs: int
    coverage_90: float
    coverage_90_ci95: tuple[float, float]
    groups: tuple[ScalingGroupScores, ...]


def independent_groups(trainings: ScalingTrainings) -> list[int]:
    """Return the typical groups with FLOPs whose dimensions vary independently."""
    found = []
    for group in np.flatnonzero(trainings.typical):
        own = trainings.group == group
        growth = trainings.growth[own]
        sizes = np.linalg.svd(growth - growth.mean(axis=0), compute_uv=False)
        if np.isfinite(trainings.log_flops[own]).all() and sizes[1] >= INDEPENDENT * sizes[0]:
            found.append(int(group))
    return found


def held_out_groups(
    trainings: ScalingTrainings,
    held: Held,
    *,
    hyperparameters: ScalingHyperparameters | None = None,
    say: Say = lambda done, total, text: None,
) -> list[HeldOutGroup]:
    """Return the predictions for each independent group by a fit to the others.

    Args:
        trainings: published.
        held: what is left out with a group: itself, or all groups of its base's family.
        hyperparameters: None: learnt anew from the groups that each fold keeps.
        say: called with folds done, folds in all, and the group's name.
    """
    tested = independent_groups(trainings)
    found = []
    for done, group in enumerate(tested):
        say(done, len(tested), trainings.groups[group])
        kept = [
            other
            for other, family in enumerate(trainings.families)
            if (other != group if held == "group" else family != trainings.families[group])
        ]
        fit = (
            fit_scaling(trainings, kept)
            if hyperparameters is None
            else fit_with(trainings, kept, hyperparameters)
        )
        found.append(_held_out(trainings, group, fit))
    say(len(tested), len(tested), "")
    return found


def scaling_scores(groups: Sequence[HeldOutGroup], held: Held, seed: int = 0) -> ScalingScores:
    """Return what was reached on held-out groups, rounded, with intervals by a bootstrap."""
    correlation = np.array([group.correlation for group in groups])
    products = np.array(
        [
            [
                group.predicted @ group.published,
                group.predicted @ group.predicted,
                group.published @ group.published,
            ]
            for group in groups
        ]
    )
    ordered = np.array([[group.ordered, group.pairs] for group in groups], dtype=np.float64)
    covered = np.array([[group.covered * group.differences, group.differences] for group in groups])
    once = np.ones((1, len(groups)))
    samples = resample(len(groups), seed)

    def mean(weights: Floats) -> Floats:
        means: Floats = weights @ correlation / weights.sum(axis=1)
        return means

    def pooled(weights: Floats) -> Floats:
        return np.array([_correlation(*row) for row in weights @ products])

    def share(counts: Floats) -> Callable[[Floats], Floats]:
        def of(weights: Floats) -> Floats:
            part, whole = (weights @ counts).T
            shares: Floats = np.divide(part, whole, out=np.ones_like(part), where=whole > 0)
            return shares

        return of

    measures = {
        "mean_correlation": mean,
        "pooled_correlation": pooled,
        "ordered": share(ordered),
        "coverage_90": share(covered),
    }
    values: dict[str, float | tuple[float, float]] = {}
    for name, measure in measures.items():
        values[name] = round(float(measure(once)[0]), 4)
        low, high = interval(measure(samples))
        values[f"{name}_ci95"] = (round(low, 4), round(high, 4))
    return ScalingScores.model_validate(
        {
            **values,
            "held_out": held,
            "pairs": sum(group.pairs for group in groups),
            "groups": tuple(
                ScalingGroupScores(
                    group=group.name,
                    networks=len(group.predicted),
                    correlation=round(group.correlation, 4),
                    ordered=group.ordered,
                    pairs=group.pairs,
                    coverage_90=round(group.covered, 4),
                )
                for group in groups
            ),
        }
    )


def _held_out(trainings: ScalingTrainings, group: int, fit: ScalingFit) -> HeldOutGroup:
    own = trainings.group == group
    h = fit.hyperparameters
    terms = growth_terms(trainings.place(h.size_share)[own])
    predicted, published = terms @ fit.mean, trainings.log_error[own]
    flops, digitised = trainings.log_flops[own], trainings.digitised[own]
    with one_thread():
        total = terms @ fit.covariance @ terms.T + group_covariance(terms, digitised, h)
    one, other = np.triu_indices(len(terms), 1)
    expected, measured = predicted[one] - predicted[other], published[one] - published[other]
    variance = np.diag(total)[one] + np.diag(total)[other] - 2 * total[one, other]
    inside = np.abs(expected - measured) <= Z90 * np.sqrt(variance)
    accuracy = -np.expm1(published)
    near = np.abs(flops[one] - flops[other]) <= math.log1p(NEAR_FLOPS)
    # Half a digit less than what is asked for: differences of rounded accuracies are not exact.
    near &= np.abs(accuracy[one] - accuracy[other]) >= APART - 1e-9
    right: npt.NDArray[np.bool_] = np.sign(expected[near]) == np.sign(measured[near])
    return HeldOutGroup(
        name=trainings.groups[group],
        predicted=_without_flops(predicted, flops),
        published=_without_flops(published, flops),
        ordered=int(right.sum()),
        pairs=int(near.sum()),
        covered=float(inside.mean()),
        differences=len(inside),
    )


def _without_flops(values: Floats, log_flops: Floats) -> Floats:
    """Return what a quadratic in ln FLOPs leaves of values, (n,)."""
    centred = log_flops - log_flops.mean()
    design = np.stack([np.ones_like(centred), centred, centred**2], axis=1)
    rest: Floats = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return rest


def _correlation(product: float, one: float, other: float) -> float:
    size = math.sqrt(max(one, 0.0) * max(other, 0.0))
    return product / size if size > 0 else 0.0
