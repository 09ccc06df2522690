"""Comparing networks that were measured with the same seeds: which differences are real.

A seed decides the draw of images and the order of training for all networks alike, so part of what
it does is common to them. That part is taken out: score = network + seed + rest, by least squares
(a two-way layout without interaction, incomplete where some networks had fewer seeds), and the
rest is the noise by which differences are judged, with Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95

Scores = Mapping[int, float]
"""Of one network: its score by seed (any number that stands for one)."""


@dataclass(frozen=True)
class Difference:
    """The mean of one network's score over another's, with its 95 % interval's half width.

    ``half_width`` is None where nothing is known of it: no network was measured twice, or the two
    have no seeds in common, neither directly nor through other networks.
    """

    mean: float
    half_width: float | None

    @property
    def real(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.half_width is not None and abs(self.mean) > self.half_width


@dataclass(frozen=True)
class Comparison:
    """Several networks measured with common seeds.

    Attributes:
        means: of each network's score, as if all that are connected by common seeds had had the
            same; None: no score.
        counts: scores of each.
        deviation: standard deviation of one score, what a seed does to all alike taken out; None
            where nothing is known of it.
        freedom: its degrees of freedom.
    """

    means: tuple[float | None, ...]
    counts: tuple[int, ...]
    deviation: float | None
    freedom: int
    _groups: tuple[int, ...] = field(repr=False, compare=False)
    _covariance: NDArray[np.floating[Any]] = field(repr=False, compare=False)

    def difference(self, one: int, other: int) -> Difference:
        """Return by how much the score of ``one`` is above that of ``other``.

        Raises:
            ValueError: one of them has no score.
        """
        a, b = self.means[one], self.means[other]
        if a is None or b is None:
            raise ValueError("a network without a score cannot be compared")
        if self.deviation is None or self._groups[one] != self._groups[other]:
            return Difference(a - b, None)
        c = self._covariance
        variance = c[one, one] + c[other, other] - 2 * c[one, other]
        spread = self.deviation * math.sqrt(max(float(variance), 0.0))
        return Difference(a - b, t_quantile(self.freedom) * spread)


def compare(scores: Sequence[Scores]) -> Comparison:
    """Return what the scores of several networks, each by seed, say about them."""
    seeds = sorted({seed for own in scores for seed in own})
    groups = list(range(len(scores)))
    for seed in seeds:
        joined = {groups[i] for i, own in enumerate(scores) if seed in own}
        groups = [min(joined) if group in joined else group for group in groups]
    columns = {seed: len(scores) + place for place, seed in enumerate(seeds)}
    cells = [(i, seed, value) for i, own in enumerate(scores) for seed, value in own.items()]
    design = np.zeros((len(cells), len(scores) + len(seeds)))
    values = np.array([value for *_, value in cells], dtype=np.float64)
    for row, (network, seed, _) in enumerate(cells):
        design[row, network] = design[row, columns[seed]] = 1.0
    # The pseudo-inverse: what all networks of a group have in common may be theirs or their seeds',
    # and it takes one of the ways to share it out, between which no difference in a group differs.
    covariance = np.linalg.pinv(design.T @ design)
    fitted = covariance @ (design.T @ values)
    rest = values - design @ fitted
    freedom = len(cells) - int(np.linalg.matrix_rank(design)) if cells else 0
    means: list[float | None] = []
    for index, own in enumerate(scores):
        # A mean is at the average of the seeds that the group had.
        had = {s for i, theirs in enumerate(scores) if groups[i] == groups[index] for s in theirs}
        effects = [float(fitted[columns[seed]]) for seed in sorted(had)]
        means.append(float(fitted[index]) + fmean(effects) if own else None)
    return Comparison(
        means=tuple(means),
        counts=tuple(len(own) for own in scores),
        deviation=math.sqrt(float(rest @ rest) / freedom) if freedom else None,
        freedom=freedom,
        _groups=tuple(groups),
        _covariance=covariance,
    )


@cache
def t_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Return the t within which so much of Student's distribution lies, both sides together.

    By bisection on its integral (Simpson's rule over the angle, t = √f · tan); to six digits.

    Raises:
        ValueError: no degree of freedom.
    """
    if freedom < 1:
        raise ValueError("Student's distribution needs a degree of freedom")
    # With t = √f·tan(u) the density becomes c·cos(u)^(f-1) on (-π/2, π/2).
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    constant /= math.sqrt(math.pi)

    def within(angle: float) -> float:
        places = np.linspace(0.0, angle, 2001)
        heights = np.cos(places) ** (freedom - 1)
        weights = np.full(2001, 2.0)
        weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
        return 2 * constant * float(heights @ weights) * angle / 2000 / 3

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)
