"""Fitting the scaling surface to published trainings: a hierarchical linear model, closed form.

For training i of group g, at x (its growth relative to EfficientNet-B0)::

    ln error = intercept_g + terms(x) · (theta + delta_g) + noise
    theta ~ N(prior mean, prior variances), the same for all three dimensions
    delta_g ~ N(0, between groups), since recipes differ
    noise ~ N(0, digitised or not)

Groups that are not typical (few trainings, other blocks) have deviations and noise that are larger
by a factor. Everything is Gaussian, so the posterior of theta is exact; a group enters it by a
9 x 9 matrix and a vector of its own, so that groups can be left out or weighted at no cost. The
hyperparameters maximise the marginal likelihood on a small grid, one after the other until nothing
changes; only the share of the bases' sizes is averaged over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from nas.environment import one_thread
from nas.proxies.scaling_model import PARAMETERS, Floats, growth_terms
from nas.proxies.scaling_table import ScalingTrainings

METHOD = (
    "Hierarchical linear model of ln(top-1 error): an intercept a group, slopes, squares and "
    "products of log FLOPs of depth, width and resolution, deviations of each group's parameters, "
    "noise by source; Gaussian posterior in closed form; hyperparameters by marginal likelihood "
    "of the typical groups on a grid."
)

_INTERCEPT_MEAN, _INTERCEPT_DEVIATION = -1.3, 2.0
"""Of ln(error), a prior without weight: errors of 4 % to all."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class ScalingHyperparameters(BaseModel):
    """What the fit assumes of all parameters; deviations are standard deviations.

    Attributes:
        slope_mean: prior mean of each slope; ``slope_deviation``: its deviation.
        curvature_mean: prior mean of each curvature, not negative: returns diminish.
        curvature_deviation: 1 / its square is the weight of that prior.
        interaction_deviation: of each interaction, whose prior mean is 0.
        group_common: of what a group's three slopes deviate by together.
        group_slope: of what each of them deviates by on its own.
        group_curvature: likewise of curvatures and interactions.
        noise: of ln(error) of one training; ``digitised_noise``: where it was read off a figure.
        untypical_factor: by which a group that is not typical deviates more.
        size_share: see ``base_offset``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    slope_mean: float = -0.15
    slope_deviation: Positive = 0.02
    curvature_mean: NotNegative = 0.04
    curvature_deviation: Positive = 0.02
    interaction_deviation: Positive = 0.02
    group_common: NotNegative = 0.0
    group_slope: NotNegative = 0.02
    group_curvature: NotNegative = 0.01
    noise: Positive = 0.01
    digitised_noise: Positive = 0.01
    untypical_factor: Annotated[float, Field(ge=1)] = 1.5
    size_share: Annotated[float, Field(ge=0, le=1)] = 0.5


GRID: Mapping[str, tuple[float, ...]] = {
    "slope_mean": (-0.17, -0.15, -0.13),
    "slope_deviation": (0.02, 0.04, 0.08),
    "curvature_mean": (0.0, 0.02, 0.04, 0.06, 0.08),
    "curvature_deviation": (0.005, 0.01, 0.02, 0.04, 0.08),
    "interaction_deviation": (0.01, 0.02, 0.04),
    "group_common": (0.0, 0.01, 0.02, 0.03),
    "group_slope": (0.005, 0.0075, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.025, 0.03),
    "group_curvature": (0.0, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015),
    "noise": (0.005, 0.007, 0.01, 0.014, 0.02),
    "digitised_noise": (0.005, 0.007, 0.01, 0.014, 0.02),
}
"""Values that are tried on the typical groups."""

UNTYPICAL_FACTORS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Values that are tried on all groups, with the others fixed."""

SIZE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Values whose mean, weighted by the marginal likelihood, is taken: it hardly tells them apart, so
that the largest would be one of the ends by chance."""

_SWEEPS, _ROUNDS = 6, 3


@dataclass(frozen=True, eq=False)
class GroupEvidence:
    """What one group says: the information matrix and vector, and its share of the likelihood."""

    information: Floats
    vector: Floats
    square: float
    log_determinant: float
    trainings: int


@dataclass(frozen=True, eq=False)
class ScalingFit:
    """The posterior of the parameters at EfficientNet-B0.

    Attributes:
        hyperparameters: with which it was fitted.
        mean: of the parameters, (9,); ``covariance``: of what all groups have in common, (9, 9).
        between: covariance of the deviations of one group, (9, 9). A new network by a new recipe
            has both.
    """

    hyperparameters: ScalingHyperparameters
    mean: Floats
    covariance: Floats
    between: Floats


def fit_scaling(
    trainings: ScalingTrainings, groups: Sequence[int], start: ScalingHyperparameters | None = None
) -> ScalingFit:
    """Return the fit to some of the groups, its hyperparameters included."""
    hyperparameters = learn_hyperparameters(trainings, groups, start)
    return fit_with(trainings, groups, hyperparameters)


def fit_with(
    trainings: ScalingTrainings,
    groups: Sequence[int],
    hyperparameters: ScalingHyperparameters,
    weights: Floats | None = None,
) -> ScalingFit:
    """Return the fit to some of the groups with given hyperparameters.

    Args:
        trainings: published.
        groups: indices of those that are fitted.
        hyperparameters: as learnt, or varied.
        weights: how often each of ``groups`` is counted (a bootstrap); None: once.
    """
    with one_thread():
        evidence = evidence_of(trainings, groups, hyperparameters)
        return posterior(evidence, hyperparameters, weights)


def posterior(
    evidence: Sequence[GroupEvidence],
    hyperparameters: ScalingHyperparameters,
    weights: Floats | None = None,
) -> ScalingFit:
    """Return the fit that follows from the groups' evidence."""
    mean, variances = _prior(hyperparameters)
    information, vector = np.diag(1 / variances), mean / variances
    counts = np.ones(len(evidence)) if weights is None else weights
    for count, group in zip(counts, evidence, strict=True):
        information = information + count * group.information
        vector = vector + count * group.vector
    covariance = np.linalg.inv(information)
    covariance = (covariance + covariance.T) / 2
    return ScalingFit(
        hyperparameters, covariance @ vector, covariance, between_groups(hyperparameters)
    )


def evidence_of(
    trainings: ScalingTrainings, groups: Sequence[int], hyperparameters: ScalingHyperparameters
) -> list[GroupEvidence]:
    """Return what each of the groups says, its intercept integrated out."""
    terms = growth_terms(trainings.place(hyperparameters.size_share))
    return [_evidence(trainings, group, terms, hyperparameters) for group in groups]


def group_covariance(
    terms: Floats, digitised: Any, hyperparameters: ScalingHyperparameters, factor: float = 1.0
) -> Floats:
    """Return the covariance of a group's ln(error) around the common surface, without intercept.

    Args:
        terms: (n, 9); ``digitised``: of each training, (n,).
        hyperparameters: of the fit.
        factor: by which deviations are larger.
    """
    deviations = np.where(digitised, hyperparameters.digitised_noise, hyperparameters.noise)
    shared = terms @ between_groups(hyperparameters) @ terms.T
    covariance: Floats = factor**2 * (shared + np.diag(deviations**2))
    return covariance


def between_groups(hyperparameters: ScalingHyperparameters) -> Floats:
    """Return the covariance of one group's deviations from the common parameters, (9, 9)."""
    own = [hyperparameters.group_slope] * 3 + [hyperparameters.group_curvature] * 6
    covariance = np.diag(np.array(own) ** 2)
    covariance[:3, :3] += hyperparameters.group_common**2
    return covariance


def learn_hyperparameters(
    trainings: ScalingTrainings, groups: Sequence[int], start: ScalingHyperparameters | None = None
) -> ScalingHyperparameters:
    """Return the hyperparameters of the largest marginal likelihood on the grid.

    Those of typical groups are learnt from these alone, and then the factor of the others. Without
    a typical group all are taken for typical.
    """
    found = start or ScalingHyperparameters()
    typical = [group for group in groups if trainings.typical[group]] or list(groups)
    with one_thread():
        for _ in range(_ROUNDS):
            found = _ascend(trainings, typical, found, GRID)
            found = _with_size_share(trainings, typical, found)
        return _ascend(trainings, groups, found, {"untypical_factor": UNTYPICAL_FACTORS})


def log_marginal_likelihood(
    evidence: Sequence[GroupEvidence], hyperparameters: ScalingHyperparameters
) -> float:
    """Return the natural logarithm of the probability density of the groups' ln(error)."""
    mean, variances = _prior(hyperparameters)
    information, vector = np.diag(1 / variances), mean / variances
    square, determinant = float(mean @ vector), float(np.log(variances).sum())
    trainings = 0
    for group in evidence:
        information = information + group.information
        vector = vector + group.vector
        square += group.square
        determinant += group.log_determinant
        trainings += group.trainings
    square -= float(vector @ np.linalg.solve(information, vector))
    determinant += float(np.linalg.slogdet(information)[1])
    return -(square + determinant + trainings * float(np.log(2 * np.pi))) / 2


def _ascend(
    trainings: ScalingTrainings,
    groups: Sequence[int],
    start: ScalingHyperparameters,
    grid: Mapping[str, tuple[float, ...]],
) -> ScalingHyperparameters:
    def value_of(candidate: ScalingHyperparameters) -> float:
        return log_marginal_likelihood(evidence_of(trainings, groups, candidate), candidate)

    found, best = start, value_of(start)
    for _ in range(_SWEEPS):
        before = found
        for name, values in grid.items():
            for value in values:
                candidate = found.model_copy(update={name: value})
                if candidate != found and (reached := value_of(candidate)) > best + 1e-6:
                    found, best = candidate, reached
        if found == before:
            break
    return found


def _with_size_share(
    trainings: ScalingTrainings, groups: Sequence[int], found: ScalingHyperparameters
) -> ScalingHyperparameters:
    candidates = [found.model_copy(update={"size_share": share}) for share in SIZE_SHARES]
    reached = [
        log_marginal_likelihood(evidence_of(trainings, groups, candidate), candidate)
        for candidate in candidates
    ]
    weights = np.exp(np.array(reached) - max(reached))
    share = float(weights @ np.array(SIZE_SHARES) / weights.sum())
    return found.model_copy(update={"size_share": round(share, 2)})


def _prior(hyperparameters: ScalingHyperparameters) -> tuple[Floats, Floats]:
    """Return the mean and the variances of the parameters before any data, (9,) each."""
    h = hyperparameters
    mean = np.repeat([h.slope_mean, h.curvature_mean, 0.0], PARAMETERS // 3)
    deviations = [h.slope_deviation, h.curvature_deviation, h.interaction_deviation]
    return mean, np.repeat(deviations, PARAMETERS // 3) ** 2


def _evidence(
    trainings: ScalingTrainings,
    group: int,
    every: Floats,
    hyperparameters: ScalingHyperparameters,
) -> GroupEvidence:
    own = trainings.group == group
    terms = every[own]
    factor = 1.0 if trainings.typical[group] else hyperparameters.untypical_factor
    covariance = group_covariance(terms, trainings.digitised[own], hyperparameters, factor)
    root = np.linalg.cholesky(covariance + _INTERCEPT_DEVIATION**2)
    values = trainings.log_error[own] - _INTERCEPT_MEAN
    whitened = np.linalg.solve(root, np.column_stack([terms, values]))
    design, target = whitened[:, :-1], whitened[:, -1]
    return GroupEvidence(
        information=design.T @ design,
        vector=design.T @ target,
        square=float(target @ target),
        log_determinant=2 * float(np.log(np.diag(root)).sum()),
        trainings=len(terms),
    )
