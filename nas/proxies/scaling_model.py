"""How the error of a network changes with its growth: a quadratic surface and its posterior.

The growth of a network relative to a base is ``g = (ln depth multiplier, 2 ln width multiplier,
2 ln resolution multiplier)``: the natural logarithm of what each dimension multiplies the FLOPs by.
The change of ln(top-1 error) is linear in nine parameters with a Gaussian posterior::

    s1 g1 + s2 g2 + s3 g3 + c1 g1²/2 + c2 g2²/2 + c3 g3²/2 + k12 g1 g2 + k13 g1 g3 + k23 g2 g3

with slopes s (negative: errors fall), curvatures c (positive: returns diminish) and interactions k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import InputError

Floats = npt.NDArray[np.floating[Any]]

PARAMETERS = 9
"""Three slopes, three curvatures and three interactions, in this order."""

REFERENCE_RESOLUTION = 224
REFERENCE_FLOPS = 385_814_752
"""EfficientNet-B0, around which the published networks lie: its pixels and its FLOPs."""

_PAIRS = ((0, 1), (0, 2), (1, 2))


def growth_terms(growths: Floats) -> Floats:
    """Return what multiplies the parameters, (n, 9), for growths (n, 3)."""
    squares = growths**2 / 2
    products = np.stack([growths[:, i] * growths[:, j] for i, j in _PAIRS], axis=1)
    return np.concatenate([growths, squares, products], axis=1)


def growth_of(depth: Floats, width: Floats, resolution: Floats) -> Floats:
    """Return growths (n, 3) from multipliers of layers, widths and pixels a side, (n,) each."""
    return np.stack([np.log(depth), 2 * np.log(width), 2 * np.log(resolution)], axis=1)


def base_offset(resolution: float, flops: float, size_share: float) -> Floats:
    """Return where a base lies relative to EfficientNet-B0, (3,), as a growth.

    Its pixels say where it lies in resolution. What its FLOPs differ by beyond that is due to its
    depth, its widths and its kind of blocks, and not known in parts: ``size_share`` of it is
    counted as growth, one half in depth and one half in width.

    Args:
        resolution: pixels a side of the base.
        flops: of the base at that resolution.
        size_share: 0: bases differ in resolution only; 1: in depth and width by all the rest.
    """
    pixels = 2 * math.log(resolution / REFERENCE_RESOLUTION)
    size = size_share * (math.log(flops / REFERENCE_FLOPS) - pixels)
    return np.array([size / 2, size / 2, pixels])


@dataclass(frozen=True, eq=False)
class ScalingSurface:
    """The change of ln(top-1 error) with the growth of one base: a Gaussian over nine parameters.

    Attributes:
        mean: of the parameters, (9,).
        covariance: of the parameters, (9, 9).
    """

    mean: Floats
    covariance: Floats

    def __post_init__(self) -> None:
        if self.mean.shape != (PARAMETERS,) or self.covariance.shape != (PARAMETERS, PARAMETERS):
            raise InputError(
                f"a surface of shapes {self.mean.shape} and {self.covariance.shape} is not "
                f"accepted: ({PARAMETERS},) and ({PARAMETERS}, {PARAMETERS})"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise InputError("a surface with numbers that are not finite is not accepted")

    def predict(self, growths: Floats) -> tuple[Floats, Floats]:
        """Return the mean change of ln(top-1 error) and its standard error, (n,) each.

        Args:
            growths: (n, 3), relative to the base.
        """
        terms = growth_terms(growths)
        variance = np.einsum("ni,ij,nj->n", terms, self.covariance, terms)
        return terms @ self.mean, np.sqrt(np.maximum(variance, 0.0))

    def draws(self, count: int, seed: int) -> Floats:
        """Return parameters drawn from the posterior, (count, 9); the same for the same seed."""
        scale = max(float(np.trace(self.covariance)) / PARAMETERS, 1e-30)
        # The jitter lets a covariance pass that is singular: parameters known without error.
        root = np.linalg.cholesky(self.covariance + 1e-10 * scale * np.eye(PARAMETERS))
        normal = np.random.default_rng(seed).standard_normal((count, PARAMETERS))
        return self.mean + normal @ root.T

    def sampled_changes(self, growths: Floats, count: int, seed: int) -> Floats:
        """Return changes of ln(top-1 error) drawn from the posterior, (count, n).

        Args:
            growths: (n, 3), relative to the base.
            count: how many surfaces are drawn.
            seed: the same seed draws the same surfaces, whatever the growths.
        """
        return self.draws(count, seed) @ growth_terms(growths).T

    def recentred(self, offset: Floats) -> ScalingSurface:
        """Return the surface as seen from a network that has grown by ``offset``, (3,), already."""
        matrix = _shift(offset)
        return ScalingSurface(matrix @ self.mean, matrix @ self.covariance @ matrix.T)

    def updated(self, design: Floats, values: Floats, noise: Floats) -> ScalingSurface:
        """Return the posterior after measurements ``values = design @ parameters + noise``.

        Args:
            design: (n, 9); of changes of ln(error) by growth it is :func:`growth_terms`, and of
                differences the difference of two such rows.
            values: measured, (n,).
            noise: covariance of the noise, (n, n).
        """
        if len(values) == 0:
            return self
        cross = self.covariance @ design.T
        total = design @ cross + noise
        gain = np.linalg.solve(total, cross.T).T
        covariance = self.covariance - gain @ cross.T
        return ScalingSurface(
            self.mean + gain @ (values - design @ self.mean), (covariance + covariance.T) / 2
        )


def _shift(offset: Floats) -> Floats:
    """Return the matrix with terms(offset + g) - terms(offset) = terms(g) @ matrix, (9, 9)."""
    matrix = np.eye(PARAMETERS)
    for i in range(3):
        matrix[i, 3 + i] = offset[i]
    for place, (i, j) in enumerate(_PAIRS, 6):
        matrix[i, place], matrix[j, place] = offset[j], offset[i]
    return matrix
