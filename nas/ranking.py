"""How well one ranking agrees with another: rank correlations, their error, and regret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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
