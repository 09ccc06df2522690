"""The model-guided sampler: a Gaussian process over the choices, searched within the budget.

Costs are free, the space is discrete and evaluations may be dear: so a model of the score is
fitted to what is known (closed form, numpy), and the network that looks most promising to it is
looked for among those within the budget, by local search.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nas.environment import one_thread
from nas.evaluation.trial import Trial
from nas.networks.cost import METRICS
from nas.spaces.encoding import Encoding, Floats, Rows
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Value
from nas.strategies.samplers.protocol import SamplerCapabilities

SPREAD = 8
"""So many first proposals are spread over what is feasible, each far from those before."""

MOST = 400
"""The model is fitted to at most so many trials: half of them the best, half the latest."""

OPTIMISM = 1.0
"""How far up, in standard deviations, a proposal looks: the scale of a half-normal draw."""

STARTS = 8
"""Of the local search: a third of them the best known, a third near the best, a third drawn."""


class GuidedSampler:
    """Proposes what a Gaussian process fitted to the trials finds most promising.

    What it keeps between calls only saves the time: it is all computed from the history.
    """

    capabilities = SamplerCapabilities(within_budget=True)

    def __init__(self) -> None:
        self._data: _Data | None = None

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> dict[str, Value]:
        """Return feasible choices that are not in the history, if any are found."""
        data = self._synchronised(feasible, history)
        if len(history) < SPREAD or data.known < 3:
            return data.spread(rng)
        with one_thread():
            return data.promising(rng)

    def _synchronised(self, feasible: Feasible, history: Sequence[Trial]) -> _Data:
        data = self._data
        if (
            data is None
            or data.feasible.space is not feasible.space
            or data.feasible.budget != feasible.budget
            or len(data.trials) > len(history)
            or any(a is not b for a, b in zip(data.trials, history, strict=False))
        ):
            data = self._data = _Data(feasible)
        for trial in history[len(data.trials) :]:
            data.add(trial)
        return data


@dataclass(frozen=True)
class Hypers:
    """What the evidence decides of the model; all but ``weights`` are places on a grid.

    Attributes:
        order: c of the kernel: 0 is additive, the larger the higher the interactions.
        noise: variance of the noise, in parts of the choices' variance.
        costs: weight of the logarithms of the costs, linear.
        weights: by how many powers of two a field or a stage matters more than another.
    """

    order: int = 1
    noise: int = 2
    costs: int = 1
    weights: tuple[int, ...] = ()

    ORDERS = (1e-3, 1.0, 3.0, 8.0)
    NOISES = (1e-4, 1e-3, 1e-2, 1e-1, 0.5)
    COSTS = (0.0, 0.3, 3.0)


@dataclass
class _Data:
    """What is known, and all that follows from it alone."""

    feasible: Feasible
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = Encoding(self.feasible)
        self.rows: list[Rows] = []
        self.totals: list[Floats] = []
        self.scores: list[float | None] = []
        self.known = 0
        self.been: list[int] = []
        self._hypers: dict[int, Hypers] = {}

    def add(self, trial: Trial) -> None:
        """Take in a trial; one that was stopped counts as weak, one that failed only as seen."""
        rows, costs = self.table.settle(self.table.row(trial.choices)[None])
        self.trials.append(trial)
        self.been.append(int(self.table.hashes(rows)[0]))
        if trial.state == "failed":
            return
        self.rows.append(rows[0])
        self.totals.append(self.table.totals(rows, costs)[0])
        self.scores.append(trial.score)
        self.known += trial.score is not None

    # ── Before there is a model ──────────────────────────────────────────────────────────────────

    def spread(self, rng: random.Random, tries: int = 8) -> dict[str, Value]:
        """Return the one of several random networks that is farthest from all that is known."""
        drawn = [self.feasible.sample(rng) for _ in range(tries if self.rows else 1)]
        if not self.rows:
            return drawn[0]
        known = np.array(self.rows)
        rows, _ = self.table.settle(np.array([self.table.row(choices) for choices in drawn]))
        apart = (rows[:, None, :] != known[None]).sum(axis=2).min(axis=1)
        return drawn[int(apart.argmax())]

    # ── With a model ─────────────────────────────────────────────────────────────────────────────

    def promising(self, rng: random.Random) -> dict[str, Value]:
        """Return the network within the budget whose upper bound of the score is the highest.

        How many standard deviations up that bound is, is drawn anew for every proposal.
        """
        rows, totals, scores = (
            np.array(self.rows),
            np.array(self.totals),
            self._filled(len(self.rows)),
        )
        hypers = self._hypers_of(len(rows))
        order = np.lexsort((np.arange(len(rows)), -scores))
        best = rows[order[:STARTS]]
        if len(rows) > MOST:
            kept = np.union1d(order[: MOST // 2], np.arange(len(rows) - MOST // 2, len(rows)))
            rows, totals, scores = rows[kept], totals[kept], scores[kept]
        model = _Model(self.table, hypers, rows, totals, scores)
        optimism = abs(rng.gauss(0.0, OPTIMISM))
        found = _Climb(self.table, model, optimism, np.array(self.been)).run(
            self._starts(best, rng), rng
        )
        return self.feasible.sample(rng) if found is None else self.table.choices(found)

    def _starts(self, best: Rows, rng: random.Random) -> Rows:
        third = max(1, STARTS // 3)
        starts = [self.table.choices(row) for row in best[:third]]
        names = [name for name, values in self.table.space.choices.items() if len(values) > 1]
        for _ in range(third):
            near = self.table.choices(best[rng.randrange(len(best))])
            for name in rng.sample(names, min(3, len(names))):
                near[name] = rng.choice(self.table.space.choices[name])
            starts.append(self.feasible.repair(near, rng))
        while len(starts) < STARTS:
            starts.append(self.feasible.sample(rng))
        return np.array([self.table.row(choices) for choices in starts])

    def _filled(self, count: int) -> Floats:
        """Return the scores of the first rows, standardised.

        Those that were stopped early count as a weak quarter's best; what fell out entirely (a
        training that went wrong) is drawn in, so that it does not outweigh all that did not.
        """
        known = [score for score in self.scores[:count] if score is not None]
        low, high = np.quantile(known, [0.25, 0.75])
        floor = low - 3 * (high - low)
        filled = np.array([low if score is None else score for score in self.scores[:count]])
        if floor < low:
            filled = np.maximum(filled, floor)
        scale = filled.std()
        standard: Floats = (filled - filled.mean()) / (scale if scale > 0 else 1.0)
        return standard

    def _hypers_of(self, count: int) -> Hypers:
        """Return what the evidence of the first so many rows decides, or of a few fewer.

        Not of all: it is decided anew whenever a quarter has come in.
        """
        step = min(SPREAD, count)
        while (following := step + max(1, step // 4)) <= min(count, MOST):
            step = following
        while step < count and sum(s is not None for s in self.scores[:step]) < 3:
            step += 1
        found = self._hypers.get(step)
        if found is None:
            rows, totals = np.array(self.rows[:step]), np.array(self.totals[:step])
            found = self._hypers[step] = _decided(self.table, rows, totals, self._filled(step))
        return found


class _Model:
    """A Gaussian process whose kernel is a function of how alike two networks' choices are.

    With s in [0, 1] the weighted part of the choices that agree, k = (e^cs - 1) / (e^c - 1): for
    c → 0 Bayesian ridge regression on the choices one by one, with larger c on their products of
    every order too. Costs are known of every network and enter linearly, as logarithms.
    """

    def __init__(
        self, table: Encoding, hypers: Hypers, rows: Rows, totals: Floats, scores: Floats
    ) -> None:
        self._table = table
        powers = np.array(hypers.weights or [0] * table.groups.shape[1], dtype=np.float64)
        weights = np.exp2(table.groups @ powers)
        # What has one value only says nothing, and would make all networks alike.
        weights = np.where(table.counts > 1, weights, 0.0)
        self._weights = weights / max(weights.sum(), 1e-12)
        self._order = Hypers.ORDERS[hypers.order]
        self._costs = Hypers.COSTS[hypers.costs] / len(METRICS)
        self._middle = totals.mean(axis=0)
        spread = totals.std(axis=0)
        self._spread = np.where(spread > 1e-9, spread, np.inf)
        self._features = table.features(rows, self._weights)
        self._totals = self._standardised(totals)
        kernel = self._kernel(self._features, self._totals)
        noise = Hypers.NOISES[hypers.noise] + 1e-6
        self._lower = np.linalg.cholesky(kernel + noise * np.eye(len(rows)))
        whitened = np.linalg.solve(self._lower, scores)
        self._scale = float(whitened @ whitened) / len(rows) + 1e-12
        self._scores = scores
        self._solved: tuple[Floats, Floats] | None = None

    def evidence(self) -> float:
        """Return the logarithm of the marginal likelihood, its scale at the maximum."""
        count = len(self._scores)
        return -0.5 * count * float(np.log(self._scale)) - float(
            np.log(np.diagonal(self._lower)).sum()
        )

    def predict(self, rows: Rows, costs: Floats) -> tuple[Floats, Floats]:
        """Return means and standard deviations of the (standardised) scores."""
        if self._solved is None:
            inverse = np.linalg.inv(self._lower)
            inverse = inverse.T @ inverse
            self._solved = inverse, inverse @ self._scores
        inverse, weights = self._solved
        totals = self._standardised(self._table.totals(rows, costs))
        across = self._kernel(self._table.features(rows, self._weights), totals)
        own = 2.0 + self._costs * (totals * totals).sum(axis=1)
        left = own - ((across @ inverse) * across).sum(axis=1)
        return across @ weights, np.sqrt(np.maximum(left, 0.0) * self._scale)

    def _standardised(self, totals: Floats) -> Floats:
        standard: Floats = (totals - self._middle) / self._spread
        return standard

    def _kernel(self, features: Floats, totals: Floats) -> Floats:
        alike = features @ self._features.T
        shape = np.expm1(self._order * alike) / np.expm1(self._order)
        result: Floats = 1.0 + shape + self._costs * (totals @ self._totals.T)
        return result


def _decided(table: Encoding, rows: Rows, totals: Floats, scores: Floats) -> Hypers:
    """Return the hyperparameters of the highest evidence that coordinate ascent finds."""
    groups = table.groups.shape[1]
    best = Hypers(weights=(0,) * groups)

    def value(hypers: Hypers) -> float:
        # Rounded, so that the last bits of a sum decide nothing; and the less is claimed, the more
        # of it is believed: a power of two in a weight costs its square.
        claimed = 0.15 * sum(power * power for power in hypers.weights)
        return round(_Model(table, hypers, rows, totals, scores).evidence() - claimed, 6)

    changes: list[Callable[[Hypers], Hypers]] = [
        *(lambda hypers, p=p: replace(hypers, order=p) for p in range(len(Hypers.ORDERS))),
        *(lambda hypers, p=p: replace(hypers, noise=p) for p in range(len(Hypers.NOISES))),
        *(lambda hypers, p=p: replace(hypers, costs=p) for p in range(len(Hypers.COSTS))),
        *(partial(_weighted, group=g, step=step) for g in range(groups) for step in (1, -1)),
    ]
    reached = value(best)
    for _ in range(3):
        before = reached
        for change in changes:
            other = change(best)
            if other != best and (now := value(other)) > reached:
                best, reached = other, now
        if reached - before < 0.1:
            break
    return best


def _weighted(hypers: Hypers, group: int, step: int) -> Hypers:
    """Return a group's weight moved by a power of two, or at the end of the scale left alone."""
    powers = list(hypers.weights)
    powers[group] = max(-4, min(4, powers[group] + step))
    return replace(hypers, weights=tuple(powers))


class _Climb:
    """Local search within the budget for the highest upper bound, among networks not seen."""

    def __init__(
        self, table: Encoding, model: _Model, optimism: float, been: NDArray[np.int64]
    ) -> None:
        self._table = table
        self._model = model
        self._optimism = optimism
        self._been = been

    def run(self, starts: Rows, rng: random.Random) -> Rows | None:
        """Return the best row found; None if all that were looked at are seen or over budget."""
        rows, values = self._valued(starts)
        for _ in range(24):
            moved = self._step(rows, values, self._table.neighbours(rows))
            if moved is None:
                break
            rows, values = moved
        # At the limit of the budget what one change adds another must save: changes in pairs.
        order = np.argsort(-values, kind="stable")[:2]
        rows, values = rows[order], values[order]
        for _ in range(6):
            pairs = self._pairs(rows, rng)
            moved = self._step(rows, values, pairs)
            if moved is None:
                break
            rows, values = moved
        best = int(values.argmax())
        return None if values[best] == -np.inf else rows[best]

    def _step(self, rows: Rows, values: Floats, near: Rows) -> tuple[Rows, Floats] | None:
        """Return each row's best neighbour where it is better than the row; None: nowhere."""
        if len(near) == 0:
            return None
        found, reached = self._valued(near)
        found = found.reshape(len(rows), -1, rows.shape[1])
        reached = reached.reshape(len(rows), -1)
        best = reached.argmax(axis=1)
        each = np.arange(len(rows))
        better = reached[each, best] > values
        if not better.any():
            return None
        return (
            np.where(better[:, None], found[each, best], rows),
            np.where(better, reached[each, best], values),
        )

    def _pairs(self, rows: Rows, rng: random.Random, count: int = 400) -> Rows:
        moves, counts = self._table.moves, self._table.counts
        if len(moves) < 2:
            return rows[:0]
        draws = np.random.default_rng(rng.getrandbits(63))
        near = np.repeat(rows[:, None, :], count, axis=1)
        each = np.arange(count)
        for _ in range(2):
            where, by = moves[draws.integers(len(moves), size=count)].T
            near[:, each, where] = (near[:, each, where] + by) % counts[where]
        return near.reshape(-1, rows.shape[1])

    def _valued(self, rows: Rows) -> tuple[Rows, Floats]:
        """Return the rows in canonical form and their upper bounds; -inf: not to be proposed."""
        rows, costs = self._table.settle(rows)
        values = np.full(len(rows), -np.inf)
        open_ = self._table.allowed(costs) & ~np.isin(self._table.hashes(rows), self._been)
        if open_.any():
            mean, deviation = self._model.predict(rows[open_], costs[open_])
            # Rounded, so that the last bits of a sum decide nothing.
            values[open_] = np.round(mean + self._optimism * deviation, 9)
        return rows, values
