"""What is known of networks that were trained a few times, or not: a Bayesian model of their loss.

The merit of a network, its loss with the sign changed, is modelled as

    merit = m + s · (sources · w + √a · f + √v · e)

with a mean m, a scale s, the weights w of the sources that are known of every network without
training it, a Gaussian process f over the choices, and noise e from training to training. Nothing
is maximised: s, a and v are averaged over grids, so that a model of four trainings is as wide as
four trainings leave it. The priors are fixed, and stated below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.statistics import Floats

SOURCES: Mapping[str, float] = {
    "supernet": 0.5,
    "imagenet": 0.3,
    "params": 0.3,
    "flops": 0.1,
    "activations": 0.0,
}
"""Prior mean of the weight of each source, in units of the scale; that of another one is 0 …"""

WEIGHT_SPREAD = 0.2
"""… and the standard deviation of all these weights. The weights of the costs, this spread, the
noises and the optimism are chosen on the trainings of Accel-NASBench (`benchmarks/decision.py`);
those of the supernet and of the ImageNet prediction are assumed."""

OPTIMISM = 0.3
"""What is trained next is best by its posterior mean and so many standard deviations."""

SCALES = tuple(0.003 * 10 ** (step / 4) for step in range(13))
"""Grid of s, in nats: with a log-normal prior about …"""

SCALE_MEDIAN, SCALE_SPREAD = 0.1, 1.2
"""… this median; the spread is the standard deviation of the natural logarithm."""

LIKENESSES = (0.1, 0.3, 1.0)
"""Grid of a, the variance of the Gaussian process, all alike before the first training."""

NOISES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Grid of v, the variance from training to training, likewise."""

RANGE = 0.3
"""Share of all choices over which the smooth half of the Gaussian process forgets."""

_MEAN_SPREAD = 10.0
"""Standard deviation of the mean m about the mean of what was measured, in units of the scale."""

DRAWS = 2_000

Measurement = tuple[int, float]
"""Index of a network and the merit of one of its trainings."""


@dataclass(frozen=True)
class Candidates:
    """Networks among which one is chosen.

    Attributes:
        sources: (networks, sources), each column standardised; higher is better where its prior
            weight is positive.
        weights: (sources,), the prior means of their weights.
        covariance: (networks, networks), of the Gaussian process; 1 on the diagonal.
    """

    sources: Floats
    weights: Floats
    covariance: Floats

    def __len__(self) -> int:
        return len(self.sources)


def candidates(sources: Mapping[str, Floats], features: Floats) -> Candidates:
    """Return candidates by what is known of each without training it.

    Args:
        sources: a score for each network, by the source's name; see :data:`SOURCES`. A source that
            does not tell any two networks apart is left out.
        features: (networks, …), whose products are the share of choices that two networks have in
            common, in [0, 1]; see :meth:`nas.spaces.encoding.Encoding.features`.
    """
    columns, weights = [], []
    for name, scores in sources.items():
        spread = float(np.std(scores))
        if spread > 0:
            columns.append((scores - np.mean(scores)) / spread)
            weights.append(SOURCES.get(name, 0.0))
    common = np.clip(features @ features.T, 0.0, 1.0)
    return Candidates(
        np.array(columns).T.reshape(len(features), len(columns)),
        np.array(weights),
        0.5 * common + 0.5 * np.exp((common - 1.0) / RANGE),
    )


@dataclass(frozen=True)
class NetworkPosterior:
    """The merits of candidates, given some trainings: draws of all of them together.

    Attributes:
        draws: (draws, networks), the merits that networks have on average over trainings.
        noise: (draws,), the standard deviation from training to training.
    """

    draws: Floats
    noise: Floats

    @property
    def mean(self) -> Floats:
        """The posterior mean of each network."""
        found: Floats = self.draws.mean(axis=0)
        return found

    @property
    def best(self) -> int:
        """Index of the network with the highest posterior mean."""
        return int(np.argmax(self.mean))

    def better(self, one: int, other: int) -> float:
        """Return the probability that a network is better than another."""
        return float(np.mean(self.draws[:, one] > self.draws[:, other]))

    def gain(self, one: int, other: int) -> tuple[float, float, float]:
        """Return the expected difference of two merits, and its 5 % and 95 % quantiles."""
        difference = self.draws[:, one] - self.draws[:, other]
        low, high = np.quantile(difference, (0.05, 0.95))
        return float(difference.mean()), float(low), float(high)

    def next_training(self, network: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return the 5 % and 95 % quantiles of what one more training of a network measures."""
        values = self.draws[:, network] + self.noise * rng.standard_normal(len(self.noise))
        low, high = np.quantile(values, (0.05, 0.95))
        return float(low), float(high)

    def proposals(self, count: int) -> list[int]:
        """Return the networks to train next, the most promising first; at most all of them."""
        promise = self.mean + OPTIMISM * self.draws.std(axis=0)
        found: list[int] = np.argsort(-promise, kind="stable")[:count].tolist()
        return found


def posterior(
    known: Candidates, measured: Sequence[Measurement], seed: int, draws: int = DRAWS
) -> NetworkPosterior:
    """Return what trainings say of candidates.

    Args:
        known: the candidates.
        measured: trainings; a network may have several.
        seed: of the draws.
        draws: how many.
    """
    rng = np.random.default_rng(seed)
    indices = np.array([index for index, _ in measured], dtype=np.intp)
    merits = np.array([merit for _, merit in measured])
    middle = float(merits.mean()) if len(merits) else 0.0
    models = [
        _Conditioned.on(known, indices, merits - middle, likeness, noise)
        for likeness in LIKENESSES
        for noise in NOISES
    ]
    logs = np.array([[model.evidence(scale) for scale in SCALES] for model in models]).ravel()
    shares = np.exp(logs - logs.max())
    counts = rng.multinomial(draws, shares / shares.sum()).reshape(len(models), len(SCALES))
    parts, noises = [], []
    for model, row in zip(models, counts, strict=True):
        for scale, count in zip(SCALES, row.tolist(), strict=True):
            if count:
                parts.append(middle + model.draw(scale, count, rng))
                noises.append(np.full(count, scale * math.sqrt(model.noise)))
    order = rng.permutation(draws)
    return NetworkPosterior(np.vstack(parts)[order], np.concatenate(noises)[order])


@dataclass(frozen=True)
class _Conditioned:
    """The model for one a and one v, in units of the scale."""

    expected: Floats
    """(networks,), the prior mean, per scale."""
    indices: npt.NDArray[np.intp]
    merits: Floats
    prior: Floats
    """(networks, networks), the prior covariance, per scale²."""
    root: Floats
    """Of the covariance of the measurements."""
    noise: float

    @classmethod
    def on(
        cls,
        known: Candidates,
        indices: npt.NDArray[np.intp],
        merits: Floats,
        likeness: float,
        noise: float,
    ) -> _Conditioned:
        prior = (
            WEIGHT_SPREAD**2 * known.sources @ known.sources.T
            + likeness * known.covariance
            + _MEAN_SPREAD**2
        )
        among = prior[np.ix_(indices, indices)] + noise * np.eye(len(indices))
        expected: Floats = known.sources @ known.weights
        return cls(expected, indices, merits, prior, np.linalg.cholesky(among), noise)

    def evidence(self, scale: float) -> float:
        """Return the logarithm of the prior of the scale and the likelihood of the measurements."""
        prior = -0.5 * (math.log(scale / SCALE_MEDIAN) / SCALE_SPREAD) ** 2
        white = np.linalg.solve(self.root, self.merits / scale - self.expected[self.indices])
        return float(
            prior
            - 0.5 * white @ white
            - np.log(self.root.diagonal()).sum()
            - len(self.merits) * math.log(scale)
        )

    def draw(self, scale: float, count: int, rng: np.random.Generator) -> Floats:
        """Return draws of the merits of all candidates, (count, networks)."""
        across = np.linalg.solve(self.root, self.prior[self.indices])
        white = np.linalg.solve(self.root, self.merits / scale - self.expected[self.indices])
        mean = self.expected + across.T @ white
        covariance = self.prior - across.T @ across
        root = np.linalg.cholesky(covariance + 1e-8 * np.eye(len(mean)) * self.prior[0, 0])
        found: Floats = scale * (mean + rng.standard_normal((count, len(mean))) @ root.T)
        return found
