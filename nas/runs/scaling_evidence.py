"""A scaling predictor from a table: the fit, its scores, its provenance; how far a choice moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas._version import __version__
from nas.networks.scaling_direction import Direction
from nas.proxies.scaling_fit import METHOD, ScalingFit, evidence_of, fit_scaling, posterior
from nas.proxies.scaling_predictor import (
    ScalingMetadata,
    ScalingPredictor,
    ScalingSource,
    surface_of,
)
from nas.proxies.scaling_table import ScalingTable, ScalingTrainings, trainings_of
from nas.proxies.scaling_validation import PLAIN, Held, held_out_groups, scaling_scores
from nas.statistics import resample
from nas.strategies.scaling_choice import best_directions, choose_direction

METRIC = "change of ln(ImageNet top-1 error)"

LICENCES = {
    # What a source's name holds, and the licence that it states.
    "tensorflow/tpu": "Apache-2.0",
    "google/automl": "Apache-2.0",
    "pytorch-image-models": "Apache-2.0",
    "PaddleClas": "Apache-2.0",
    "d-li14/mobilenetv2.pytorch": "Apache-2.0",
    "pycls": "MIT",
    "imgclsmob": "MIT",
    "rexnet": "MIT",
}
NO_LICENCE = "none stated"

BOOTSTRAPS = 200
_BOOTSTRAP_DRAWS = 200

Say = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class VariedChoice:
    """The direction chosen for EfficientNet-B0 when something is changed.

    Attributes:
        name: what is changed.
        direction: chosen then.
    """

    name: str
    direction: Direction

    @property
    def all_grow(self) -> bool:
        """Whether alpha, beta and gamma exceed 1 by more than rounding hides (0.005)."""
        own = self.direction.coefficients()
        return min(own.alpha, own.beta, own.gamma) > 1.005


@dataclass(frozen=True)
class ResampledChoice:
    """How far the chosen direction moves when groups are drawn with replacement.

    Attributes:
        samples: how many.
        intervals: the middle 90 % of alpha, beta and gamma.
        distance: mean half of the sum of the shares' absolute changes: the part that moved.
    """

    samples: int
    intervals: dict[str, tuple[float, float]]
    distance: float


def fit_table(
    table: ScalingTable, say: Say = lambda phase, done, total, text: None
) -> ScalingPredictor:
    """Return a scaling predictor fitted to all trainings of a table, with its scores.

    Args:
        table: published accuracies.
        say: called with a phase, steps done, steps in all and a text.

    Raises:
        InputError: too few groups, or none whose dimensions vary independently.
    """
    trainings = trainings_of(table)

    def told(phase: str) -> Callable[[int, int, str], None]:
        return lambda done, total, text: say(phase, done, total, text)

    def scores(held: Held) -> object:
        found = held_out_groups(trainings, held, say=told(f"leave out each {held}"))
        return scaling_scores(found, held)

    plain = held_out_groups(trainings, "group", hyperparameters=PLAIN)
    fit = fit_scaling(trainings, range(len(trainings.groups)))
    return ScalingPredictor(
        ScalingMetadata.model_validate(
            {
                "schema": "nas-search-scaling/1",
                "metric": METRIC,
                "made_by": f"nas-search {__version__}",
                "table_sha256": table.sha256,
                "rows": table.lines,
                "trainings": len(trainings.group),
                "method": METHOD,
                "hyperparameters": fit.hyperparameters,
                "groups": trainings.groups,
                "families": trainings.families,
                "sources": _sources(table, trainings),
                "scores": scores("group"),
                "base_scores": scores("base"),
                "plain_scores": scaling_scores(plain, "group"),
                "arrays_sha256": "",
            }
        ),
        fit,
        trainings,
    )


def varied_choices(trainings: ScalingTrainings, fit: ScalingFit) -> list[VariedChoice]:
    """Return what is chosen for B0 with other weights of the prior, and without each base.

    The weight of a prior is 1 / variance. Other hyperparameters stay as they were learnt.
    """
    every = range(len(trainings.groups))
    evidence = evidence_of(trainings, every, fit.hyperparameters)
    deviation = fit.hyperparameters.curvature_deviation
    found = [VariedChoice("as shipped", _chosen(fit))]
    for name, weight in (("half", 1 / 2), ("double", 2.0), ("a sixteenth", 1 / 16)):
        varied = fit.hyperparameters.model_copy(
            update={"curvature_deviation": deviation / math.sqrt(weight)}
        )
        found.append(
            VariedChoice(
                f"prior of curvature: {name} the weight", _chosen(posterior(evidence, varied))
            )
        )
    for family in sorted(set(trainings.families)):
        kept = [one for group, one in enumerate(evidence) if trainings.families[group] != family]
        found.append(
            VariedChoice(f"without {family}", _chosen(posterior(kept, fit.hyperparameters)))
        )
    return found


def resampled_choice(
    trainings: ScalingTrainings,
    fit: ScalingFit,
    seed: int = 0,
    say: Say = lambda phase, done, total, text: None,
) -> ResampledChoice:
    """Return how far the choice for B0 moves over bootstrapped groups."""
    every = range(len(trainings.groups))
    evidence = evidence_of(trainings, every, fit.hyperparameters)
    shipped = np.array(list(_chosen(fit).shares().values()))
    triples, distances = [], []
    for done, weights in enumerate(resample(len(evidence), seed, BOOTSTRAPS)):
        say("resample groups", done, BOOTSTRAPS, "")
        refit = posterior(evidence, fit.hyperparameters, weights.astype(np.float64))
        shares = best_directions(surface_of(refit), draws=_BOOTSTRAP_DRAWS, seed=seed).mean(axis=0)
        own = Direction(*(float(share) for share in shares / shares.sum())).coefficients()
        triples.append((own.alpha, own.beta, own.gamma))
        distances.append(float(np.abs(shares - shipped).sum()) / 2)
    say("resample groups", BOOTSTRAPS, BOOTSTRAPS, "")
    low, high = np.percentile(np.array(triples), [5, 95], axis=0)
    return ResampledChoice(
        samples=BOOTSTRAPS,
        intervals={
            name: (round(float(low[i]), 3), round(float(high[i]), 3))
            for i, name in enumerate(("alpha", "beta", "gamma"))
        },
        distance=round(float(np.mean(distances)), 3),
    )


def _chosen(fit: ScalingFit) -> Direction:
    return choose_direction(surface_of(fit)).direction


def _sources(table: ScalingTable, trainings: ScalingTrainings) -> list[ScalingSource]:
    found: dict[str, list[str]] = {}
    for row in table.rows:
        groups = found.setdefault(row.source, [])
        if row.group in trainings.groups and row.group not in groups:
            groups.append(row.group)
    return [
        ScalingSource(
            source=source,
            licence=next(
                (licence for part, licence in LICENCES.items() if part in source), NO_LICENCE
            ),
            groups=tuple(groups),
        )
        for source, groups in found.items()
        if groups
    ]
