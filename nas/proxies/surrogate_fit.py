"""Fitting a predictor to a benchmark table: a Gaussian process, its error, and its optimism."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nas._version import __version__
from nas.errors import InputError
from nas.networks.cost import Parts, head_cost, stage_cost, stem_cost
from nas.proxies.benchmark_table import Table
from nas.proxies.surrogate import (
    About,
    Arrays,
    Floats,
    Optimism,
    Options,
    Predictor,
    Scores,
    options_of,
    stage_options,
)
from nas.spaces.search_space import SearchSpace
from nas.statistics import kendall_tau

SPLITS = 5
HELD_OUT = 0.1
LEAST_ROWS = 100
METHOD = (
    "Gaussian process: linear and squared-exponential kernel, a length for each feature by "
    "marginal likelihood; features: each stage's choices, and the logarithms of FLOPs, parameters "
    "and activations of stages and network; standard error by leave-one-out residuals"
)
Z90 = 1.6448536
"""Of 100 draws of a normal distribution 90 are within so many standard deviations."""

_BATCH = 1_000
_STEPS = 100
_LEVELS = 10
_POOL = 20_000
_HALVINGS = 4
Say = Callable[[str], None]


def fit_predictor(
    table: Table,
    space: SearchSpace,
    *,
    metric: str,
    data: str,
    source: str,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Predictor:
    """Return a predictor fitted on all rows, with what it reaches on rows held out.

    Rows of one architecture count as one, with their mean; so no architecture is on both sides
    of a split. Every split fits everything anew: lengths, weights and errors.

    Args:
        table: rows of ``space``.
        space: one whose stages have one width each.
        metric: what the accuracies are, in words.
        data: what they were measured on.
        source: who measured them, and the licence.
        seed: of the splits and batches.
        say: told how far it is.

    Raises:
        InputError: a row is not of the space, too few rows, or a space with widths to choose.
    """
    if any(len(stage.width) > 1 for stage in space.stages):
        raise InputError(
            f"space {space.name!r}: stages with several widths are not accepted: a stage's cost "
            "must be its own"
        )
    options, accuracy = _unique(table, space)
    if len(options) < LEAST_ROWS:
        raise InputError(
            f"{table.path}: {len(options)} different architectures are not accepted: "
            f"at least {LEAST_ROWS}"
        )
    blank = _blank(space)
    scores = _scores(_splits(blank, options, accuracy, seed), say)
    say(f"fit on all {len(options):,} architectures")
    kernel = _learn(blank, options, accuracy, seed)
    fitted = _fit(blank, options, accuracy, kernel)
    say("optimism of the best of many")
    return Predictor(
        About.model_validate(
            {
                "schema": "nas-search-predictor/1",
                "metric": metric,
                "data": data,
                "source": source,
                "made_by": f"nas-search {__version__}",
                "space": space.name,
                "choices": {name: list(values) for name, values in space.choices.items()},
                "rows": len(options),
                "table_sha256": table.sha256,
                "method": METHOD,
                "scores": scores,
                "optimism": _optimism(blank, options, accuracy, kernel, seed),
                "arrays_sha256": "",
            }
        ),
        fitted,
        space,
    )


def _unique(table: Table, space: SearchSpace) -> tuple[Options, Floats]:
    every = options_of(table.canonical(space), space)
    options, index = np.unique(every, axis=0, return_inverse=True)
    total = np.bincount(index.ravel(), [row.accuracy for row in table.rows])
    return options, total / np.bincount(index.ravel())


# -- features -------------------------------------------------------------------------------------


def _blank(space: SearchSpace) -> Arrays:
    """Return arrays that know the space's features, and nothing else yet."""
    width, size = space.stem.width, -(-space.resolution // space.stem.stride)
    embeddings, sums = [], []
    for stage in space.stages:
        rows, costs = [], []
        for chosen in stage_options(stage):
            made, _ = stage.make(chosen, width)
            cost = Parts(0, 0, 0) if made is None else stage_cost(made, width, size)
            costs.append((*cost, 0 if made is None else made.layers))
            row: list[float] = []
            for field, values in stage.values().items():
                value = chosen[field]
                if len(values) == 2:
                    row.append(float(value == values[1]))
                elif len(values) > 2:
                    row += [float(value == other) for other in values]
            rows.append(row)
        table = np.array(costs, dtype=float)
        logs = np.log1p(table)
        logs = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 1e-9)
        embeddings.append(np.concatenate([np.array(rows, dtype=float), logs], axis=1))
        sums.append(table)
        width, size = stage.width[0], -(-size // stage.stride)
    network = space.architecture(())
    ends = zip(stem_cost(network, space.resolution), head_cost(network, width, size), strict=True)
    nothing = np.zeros(0)
    return Arrays(
        embeddings=tuple(embeddings),
        sums=tuple(sums),
        constant=np.array([*(float(a + b) for a, b in ends), 1.0]),
        centre=np.zeros(4),
        spread=np.ones(4),
        scale=nothing,
        linear=nothing,
        offset=nothing,
        rows=np.zeros((0, len(sums)), dtype=np.int64),
        accuracy=nothing,
        weights=nothing,
        levels=nothing,
        errors=nothing,
    )


# -- the process ----------------------------------------------------------------------------------


class _Kernel:
    """The covariance of two networks' accuracies, by their features."""

    def __init__(self, features: int) -> None:
        self.log_scale = torch.full((features,), math.log(0.12), dtype=torch.float64)
        self.log_linear = torch.full((features,), -3.0, dtype=torch.float64)
        self.log_amplitude = torch.tensor(0.0, dtype=torch.float64)
        self.log_noise = torch.tensor(-2.5, dtype=torch.float64)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.log_scale, self.log_linear, self.log_amplitude, self.log_noise]

    def noisy(self, x: Tensor) -> Tensor:
        """Return the covariance of measurements at ``x``."""
        z, linear = x * self.log_scale.exp(), x * self.log_linear.exp()
        squares = (z * z).sum(1)
        distance = (squares[:, None] + squares[None, :] - 2 * z @ z.T).clamp_min(0)
        smooth = self.log_amplitude.exp() * torch.exp(-0.5 * distance)
        return smooth + linear @ linear.T + self.log_noise.exp() * torch.eye(len(x), dtype=x.dtype)

    def learn(self, x: Tensor, y: Tensor, seed: int) -> None:
        """Raise the marginal likelihood of random batches, with Adam."""
        for parameter in self.parameters:
            parameter.requires_grad_()
        optimiser = torch.optim.Adam(self.parameters, lr=0.08)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(_STEPS):
            batch = torch.randperm(len(x), generator=generator)[:_BATCH]
            root = torch.linalg.cholesky(self.noisy(x[batch]))
            weights = torch.cholesky_solve(y[batch, None], root)[:, 0]
            loss = 0.5 * y[batch] @ weights + root.diagonal().log().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for parameter in self.parameters:
            parameter.requires_grad_(False)


def _learn(blank: Arrays, options: Options, accuracy: Floats, seed: int) -> _Kernel:
    arrays = _standardised(blank, options)
    kernel = _Kernel(arrays.features(options).shape[1])
    kernel.learn(torch.from_numpy(arrays.features(options)), _in_units(accuracy), seed)
    return kernel


def _fit(blank: Arrays, options: Options, accuracy: Floats, kernel: _Kernel) -> Arrays:
    """Return the arrays of a process that knows these rows."""
    arrays = _standardised(blank, options)
    x, y = torch.from_numpy(arrays.features(options)), _in_units(accuracy)
    middle, unit = accuracy.mean(), accuracy.std()
    root = torch.linalg.cholesky(kernel.noisy(x))
    weights = torch.cholesky_solve(y[:, None], root)[:, 0]
    linear = (2 * kernel.log_linear).exp() * (x.T @ weights)
    # Leave-one-out residuals of a Gaussian process (Rasmussen & Williams 2006, eq. 5.12).
    residual = (unit * weights / torch.cholesky_inverse(root).diagonal()).numpy()
    levels, errors = _calibrate(accuracy - residual, np.abs(residual))
    return replace(
        arrays,
        scale=kernel.log_scale.exp().numpy().copy(),
        linear=unit * linear.numpy(),
        offset=np.array([middle]),
        accuracy=accuracy,
        weights=unit * kernel.log_amplitude.exp().item() * weights.numpy(),
        levels=levels,
        errors=errors,
    )


def _standardised(blank: Arrays, options: Options) -> Arrays:
    logs = np.log(blank.totals(options))
    spread = np.maximum(logs.std(axis=0), 1e-9)
    return replace(blank, centre=logs.mean(axis=0), spread=spread, rows=options)


def _in_units(accuracy: Floats) -> Tensor:
    return torch.from_numpy((accuracy - accuracy.mean()) / accuracy.std())


def _calibrate(mean: Floats, residual: Floats) -> tuple[Floats, Floats]:
    """Return levels of the prediction and, for each, the error that holds 90 of 100 residuals."""
    parts = np.array_split(np.argsort(mean, kind="stable"), _LEVELS)
    levels = np.array([mean[part].mean() for part in parts])
    share = [min(1.0, 0.9 * (1 + 1 / len(part))) for part in parts]  # conformal, finite samples
    errors = [
        np.quantile(residual[part], q, method="higher") / Z90
        for part, q in zip(parts, share, strict=True)
    ]
    return levels, np.array(errors)


# -- what it is worth -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Networks that a predictor was not fitted on, (n,) each.

    Attributes:
        flops: of them.
        accuracy: that was measured.
        predicted: by a predictor of the other networks.
        error: the standard error that it says.
    """

    flops: Floats
    accuracy: Floats
    predicted: Floats
    error: Floats


def held_out(table: Table, space: SearchSpace, seed: int = 0) -> Iterator[Split]:
    """Yield the random splits by which a predictor is judged, each fitted anew."""
    return _splits(_blank(space), *_unique(table, space), seed)


def _splits(blank: Arrays, options: Options, accuracy: Floats, seed: int) -> Iterator[Split]:
    for split in range(SPLITS):
        order = np.random.default_rng([seed, split]).permutation(len(options))
        test, train = np.split(order, [round(HELD_OUT * len(order))])
        kernel = _learn(blank, options[train], accuracy[train], seed)
        arrays = _fit(blank, options[train], accuracy[train], kernel)
        mean = arrays.mean(options[test])
        flops = arrays.totals(options[test])[:, 0]
        yield Split(flops, accuracy[test], mean, arrays.error(mean))


def _scores(splits: Iterator[Split], say: Say) -> Scores:
    taus, rmses, inside = [], [], []
    for number, split in enumerate(splits, 1):
        gaps = split.predicted - split.accuracy
        taus.append(round(kendall_tau(split.predicted, split.accuracy), 4))
        rmses.append(round(float(np.sqrt(np.mean(gaps**2))), 6))
        inside += list(np.abs(gaps) <= Z90 * split.error)
        say(f"split {number} of {SPLITS}: Kendall τ {taus[-1]:.4f}, RMSE {100 * rmses[-1]:.3f}")
    return Scores(
        kendall_tau=round(float(np.mean(taus)), 4),
        kendall_tau_splits=taus,
        rmse=round(float(np.mean(rmses)), 6),
        rmse_splits=rmses,
        coverage_90=round(float(np.mean(inside)), 4),
        splits=SPLITS,
        held_out=HELD_OUT,
    )


def _optimism(
    blank: Arrays, options: Options, accuracy: Floats, kernel: _Kernel, seed: int
) -> Optimism:
    """Return by how much the best of many predictions exceeds what other rows say of it.

    The rows are halved at random; one half's predictor searches the space under limits on FLOPs,
    and the other half's, which had no part in that choice, says what it thinks of the network
    found. Half the rows err more than all of them, so this is rather too much than too little.
    """
    gaps = []
    for halving in range(_HALVINGS):
        rng = np.random.default_rng([seed, 1_000 + halving])
        halves = np.array_split(rng.permutation(len(options)), 2)
        a, b = (_fit(blank, options[half], accuracy[half], kernel) for half in halves)
        sizes = [len(table) for table in blank.sums]
        pool = np.stack([rng.integers(0, size, _POOL) for size in sizes], axis=1)
        limits = np.quantile(blank.totals(pool)[:, 0], [0.1, 0.3, 0.5, 0.7, 0.9])
        for chooser, judge in ((a, b), (b, a)):
            guess = chooser.mean(pool)
            for limit in limits:
                best = _climb(chooser, pool, guess, float(limit))
                gaps.append(float((chooser.mean(best) - judge.mean(best))[0]))
    return Optimism(
        mean=round(max(0.0, float(np.mean(gaps))), 6),
        standard_deviation=round(float(np.std(gaps, ddof=1)), 6),
        n=len(gaps),
    )


def _climb(arrays: Arrays, pool: Options, guess: Floats, limit: float) -> Options:
    """Return the best network within ``limit`` FLOPs: of the pool, then of one stage's changes."""
    within = arrays.totals(pool)[:, 0] <= limit
    best = pool[within][[int(np.argmax(guess[within]))]]
    value = float(arrays.mean(best)[0])
    while True:
        near = np.concatenate(
            [
                np.where(np.arange(best.shape[1]) == stage, option, best)
                for stage, table in enumerate(arrays.sums)
                for option in range(len(table))
            ]
        )
        near = near[arrays.totals(near)[:, 0] <= limit]
        means = arrays.mean(near)
        if float(means.max()) <= value + 1e-7:
            return best
        best, value = near[[int(np.argmax(means))]], float(means.max())
