"""How well one ranking agrees with another: rank correlations, their error, and regret."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

RESAMPLES = 1_000
TOP = 5

_BLOCK = 512

Floats = npt.NDArray[np.floating[Any]]
Interval = tuple[float, float]


def kendall_tau(a: Floats, b: Floats) -> float:
    """Return Kendall's rank correlation, τ-b; 0 where one side is all ties.

    (concordant - discordant pairs) / sqrt(pairs not tied in a · pairs not tied in b).

    Args:
        a: (networks,).
        b: (networks,).
    """
    return float(kendall_taus(a, b, np.ones((1, len(a))))[0])


def kendall_taus(a: Floats, b: Floats, counts: Floats) -> Floats:
    """Return :func:`kendall_tau` of many samples of the same networks at once, (samples,).

    With S_ij = sign(a_i - a_j) · sign(b_i - b_j), a sample that holds network i w_i times has the
    numerator w·S·w: a matrix product for all samples. Single precision is exact, since every sum
    is a whole number below 2²⁴.

    Args:
        a: (networks,).
        b: (networks,).
        counts: (samples, networks): how often each network is in each sample.
    """
    one, other = (np.unique(x, return_inverse=True)[1].astype(np.float32) for x in (a, b))
    weights = counts.astype(np.float32)
    numerator = np.zeros(len(weights))
    for start in range(0, len(one), _BLOCK):
        part = slice(start, start + _BLOCK)
        signs = np.sign(one[:, None] - one[part]) * np.sign(other[:, None] - other[part])
        numerator += ((weights @ signs) * weights[:, part]).sum(axis=1, dtype=np.float64)
    pairs = np.sqrt(_untied(one, counts) * _untied(other, counts))
    return np.divide(numerator, pairs, out=np.zeros_like(numerator), where=pairs > 0)


def _untied(values: Floats, counts: Floats) -> Floats:
    """Return how many ordered pairs of each sample have different values, (samples,)."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    ties = np.add.reduceat(counts[:, order].astype(np.float64), starts, axis=1)
    untied: Floats = ties.sum(axis=1) ** 2 - (ties**2).sum(axis=1)
    return untied


def spearman(a: Floats, b: Floats) -> float:
    """Return Spearman's rank correlation; ties share their mean rank; 0 where all are ties."""
    one, other = (_mean_ranks(x) for x in (a, b))
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size > 0 else 0.0


def _mean_ranks(values: Floats) -> Floats:
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(count) - (count - 1) / 2)[index]
    return ranks


def regret(truth: Floats, score: Floats, top: int = 1) -> float:
    """Return by how much the best of all is better than the best of the ``top`` by score.

    Of equal scores the network that is listed earlier comes first.
    """
    chosen = np.argsort(-score, kind="stable")[:top]
    return float(truth.max() - truth[chosen].max())


def resample(networks: int, seed: int, samples: int = RESAMPLES) -> Floats:
    """Return bootstrap samples, (samples, networks): how often each network was drawn."""
    rng = np.random.default_rng(seed)
    even = np.full(networks, 1 / networks)
    return rng.multinomial(networks, even, size=samples).astype(np.float32)


def interval(values: Floats) -> Interval:
    """Return the middle 95 % of bootstrapped values (the percentile interval)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Agreement:
    """How well scores rank networks whose true accuracy is known.

    Attributes:
        kendall_tau: τ-b.
        kendall_tau_ci95: by a bootstrap over the networks. With a few dozen it is rather too
            narrow than too wide.
        spearman: ρ.
        regret: accuracy of the best of all less that of the one with the highest score.
        regret_top5: less that of the best of the five with the highest scores.
        taus: τ-b of each bootstrap sample; those of two scores on one sample are paired.
    """

    kendall_tau: float
    kendall_tau_ci95: Interval
    spearman: float
    regret: float
    regret_top5: float
    taus: Floats = field(repr=False, compare=False)


def agreement(truth: Floats, score: Floats, samples: Floats) -> Agreement:
    """Return how well ``score`` ranks by ``truth``; see :func:`resample` for ``samples``."""
    taus = kendall_taus(truth, score, samples)
    return Agreement(
        kendall_tau=kendall_tau(truth, score),
        kendall_tau_ci95=interval(taus),
        spearman=spearman(truth, score),
        regret=regret(truth, score),
        regret_top5=regret(truth, score, TOP),
        taus=taus,
    )


CONFIDENCE = 0.95


Scores = Mapping[int, float]
"""Of one network: its score by seed (any number that stands for one)."""


@dataclass(frozen=True)
class PairedDifference:
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

    def difference(self, one: int, other: int) -> PairedDifference:
        """Return by how much the score of ``one`` is above that of ``other``.

        Raises:
            ValueError: one of them has no score.
        """
        a, b = self.means[one], self.means[other]
        if a is None or b is None:
            raise ValueError("a network without a score cannot be compared")
        if self.deviation is None or self._groups[one] != self._groups[other]:
            return PairedDifference(a - b, None)
        c = self._covariance
        variance = c[one, one] + c[other, other] - 2 * c[one, other]
        spread = self.deviation * math.sqrt(max(float(variance), 0.0))
        return PairedDifference(a - b, t_quantile(self.freedom) * spread)


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


Z90 = 1.645
"""So many standard errors to either side are an interval that holds in 90 of 100 cases."""
