"""The posterior of a scaling surface after trainings of scaled networks on the user's images.

Small networks, trained for a short time, are not the family in question. Three things keep what
only they say from being taken for more:

- Every network is trained for two lengths. What growth changes may depend on the length. This part
  has parameters of its own and fades with the number of images, by its root or by itself; what
  would remain after long training is what counts.
- A small network may gain otherwise than a large one: its parameters deviate as those of another
  group of trainings do.
- The noise is estimated with the rest, by the marginal likelihood.

All is Gaussian, so the posterior is exact. Networks of the same length and seed have a level in
common that is not known; only differences between directions count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.proxies.scaling_model import PARAMETERS, ScalingSurface, growth_terms

Floats = npt.NDArray[np.floating]

FADING = (0.5, 1.0)
"""Powers of the number of images by which effects of short training fade."""

SHORT_SLOPE, SHORT_CURVATURE = 0.03, 0.012
"""Standard deviations of these effects, for each power, on slopes, and on curvatures and
interactions, at the longest of the lengths. On CIFAR-10 differences between directions changed by
about so much from 5,000 to 15,000 images."""

LEVEL = 1.0
"""Standard deviation of the common level of networks of the same length and seed."""

NOISE, NOISE_FACTOR = 0.02, 2.0
"""The noise of ln(error) of a training: what is expected, and by which factor it may be off."""

_NOISES = NOISE * np.geomspace(1 / 8, 32, 65)


@dataclass(frozen=True)
class ScaledTraining:
    """A training of a scaled network.

    Attributes:
        growth: of the network over the one that all grew from, in log FLOPs of depth, width and
            resolution, as realised.
        images_seen: in the training.
        seed: of the training.
        log_error: natural logarithm of its top-1 error.
    """

    growth: tuple[float, float, float]
    images_seen: int
    seed: int
    log_error: float


@dataclass(frozen=True)
class MeasuredSurface:
    """What is known of a surface after measurements.

    Attributes:
        surface: the posterior.
        noise: standard deviation of ln(error) from training to training.
    """

    surface: ScalingSurface
    noise: float


def measured_surface(
    prior: ScalingSurface,
    deviation: Floats,
    origin: Floats,
    trainings: Sequence[ScaledTraining],
) -> MeasuredSurface:
    """Return the posterior of a surface after trainings of networks that grew from a small one.

    Args:
        prior: of the network that the surface is of.
        deviation: covariance of how the parameters of small networks differ, (9, 9).
        origin: where the small network lies relative to the other, (3,), as a growth.
        trainings: of networks that grew from the small one; at least one.
    """
    growths = np.array([one.growth for one in trainings], dtype=np.float64)
    values = np.array([one.log_error for one in trainings], dtype=np.float64)
    lengths = np.array([one.images_seen for one in trainings], dtype=np.float64)
    design = growth_terms(origin + growths) - growth_terms(np.asarray(origin)[None])
    own = growth_terms(growths)
    levels = [(one.images_seen, one.seed) for one in trainings]
    same = np.array([[float(one == other) for other in levels] for one in levels])
    common = own @ deviation @ own.T + LEVEL**2 * same
    spread = np.diag(np.repeat((SHORT_SLOPE, SHORT_CURVATURE), (3, PARAMETERS - 3)) ** 2)
    for power in FADING:
        short = ((lengths.max() / lengths) ** power)[:, None] * own
        common += short @ spread @ short.T
    # The level of ln(error) is far from 0; its mean is taken off.
    centred = values - np.mean(values)
    residual = centred - design @ prior.mean
    around = design @ prior.covariance @ design.T + common
    identity = np.eye(len(values))
    scores = [
        _log_density(residual, around + noise**2 * identity)
        - 0.5 * (math.log(noise / NOISE) / math.log(NOISE_FACTOR)) ** 2
        for noise in _NOISES
    ]
    noise = float(_NOISES[int(np.argmax(scores))])
    return MeasuredSurface(prior.updated(design, centred, common + noise**2 * identity), noise)


def _log_density(values: Floats, covariance: Floats) -> float:
    """Return the logarithm of a Gaussian density at ``values`` (n,), but for a constant."""
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, values)
    return float(-np.log(np.diag(root)).sum() - 0.5 * white @ white)
