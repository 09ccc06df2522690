"""The direction in which a family grows: shares of the growth in FLOPs, and the coefficients.

Doubling the layers of a network doubles its FLOPs, and so does multiplying its widths, or the
sides of its images, by the root of 2. A direction says which share of the growth in log FLOPs each
dimension has: with the coefficients of Tan & Le 2019 (arXiv 1905.11946) the shares are log alpha,
2 log beta and 2 log gamma over their sum, and alpha * beta**2 * gamma**2 is exactly 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from nas.errors import InputError
from nas.networks.compound_scaling import Coefficients

Dimension = Literal["depth", "width", "resolution"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)


@dataclass(frozen=True)
class Direction:
    """Shares of the growth in log FLOPs; none is negative, and their sum is 1."""

    depth: float
    width: float
    resolution: float

    def __post_init__(self) -> None:
        for name, value in self.shares().items():
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name}: a share of {value} is not accepted: 0 to 1")
        if abs(sum(self.shares().values()) - 1) > 1e-6:
            raise InputError(f"shares {tuple(self.shares().values())}: their sum is not 1")

    @classmethod
    def of(cls, coefficients: Coefficients) -> Direction:
        """Return the direction of a triple, whatever its product.

        Raises:
            InputError: all three are 1, so nothing grows.
        """
        depth = math.log(coefficients.alpha)
        width = 2 * math.log(coefficients.beta)
        resolution = 2 * math.log(coefficients.gamma)
        whole = depth + width + resolution
        if whole <= 0:
            raise InputError(f"coefficients {coefficients}: not accepted: one at least exceeds 1")
        return cls(depth / whole, width / whole, resolution / whole)

    def shares(self) -> dict[str, float]:
        """Return the shares by the name of the dimension."""
        return {"depth": self.depth, "width": self.width, "resolution": self.resolution}

    def coefficients(self) -> Coefficients:
        """Return alpha, beta and gamma, whose product alpha * beta**2 * gamma**2 is 2."""
        return Coefficients(2**self.depth, 2 ** (self.width / 2), 2 ** (self.resolution / 2))

    def multipliers(self, doublings: float) -> tuple[float, float, float]:
        """Return what multiplies layers, widths and pixels to double the FLOPs so many times."""
        return (
            2 ** (self.depth * doublings),
            2 ** (self.width * doublings / 2),
            2 ** (self.resolution * doublings / 2),
        )

    @classmethod
    def along(cls, dimension: Dimension) -> Direction:
        """Return the direction in which one dimension grows alone."""
        return cls(**{name: float(name == dimension) for name in DIMENSIONS})

    def __str__(self) -> str:
        """Return ``depth 43 %, width 28 %, resolution 29 %``."""
        return ", ".join(f"{name} {share:.0%}" for name, share in self.shares().items()).replace(
            "%", " %"
        )
