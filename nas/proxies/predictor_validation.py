"""How accurate a fitted predictor is: held-out rows, and the optimism of a search by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nas.proxies.gaussian_process import Z90, Kernel, fit, learn_kernel
from nas.proxies.predictor import Floats, HeldOutScores, Optimism, PredictorArrays
from nas.proxies.stage_options import Options
from nas.statistics import kendall_tau

SPLITS = 5
"""So many random splits are held out, one after the other."""

HELD_OUT = 0.1
"""The share of the rows that a split holds out."""

_POOL = 20_000
_HALVINGS = 4
Say = Callable[[str], None]


@dataclass(frozen=True)
class HeldOutSplit:
    """Networks that a predictor was not fitted on, (n,) each.

    Attributes:
        flops: of the networks.
        accuracy: measured.
        predicted: the accuracy, by a predictor that was fitted on the other networks.
        error: the standard error that it predicts.
    """

    flops: Floats
    accuracy: Floats
    predicted: Floats
    error: Floats


def held_out_splits(
    blank: PredictorArrays, options: Options, accuracy: Floats, seed: int
) -> Iterator[HeldOutSplit]:
    """Yield random splits; for each, everything is fitted anew on the rows that it keeps."""
    for split in range(SPLITS):
        order = np.random.default_rng([seed, split]).permutation(len(options))
        test, train = np.split(order, [round(HELD_OUT * len(order))])
        kernel = learn_kernel(blank, options[train], accuracy[train], seed)
        arrays = fit(blank, options[train], accuracy[train], kernel)
        mean = arrays.mean(options[test])
        flops = arrays.totals(options[test])[:, 0]
        yield HeldOutSplit(flops, accuracy[test], mean, arrays.error(mean))


def held_out_scores(splits: Iterator[HeldOutSplit], say: Say) -> HeldOutScores:
    """Return what a predictor reaches on the rows that each split holds out."""
    taus, rmses, inside = [], [], []
    for number, split in enumerate(splits, 1):
        gaps = split.predicted - split.accuracy
        taus.append(round(kendall_tau(split.predicted, split.accuracy), 4))
        rmses.append(round(float(np.sqrt(np.mean(gaps**2))), 6))
        inside += list(np.abs(gaps) <= Z90 * split.error)
        say(f"split {number} of {SPLITS}: Kendall τ {taus[-1]:.4f}, RMSE {100 * rmses[-1]:.3f}")
    return HeldOutScores(
        kendall_tau=round(float(np.mean(taus)), 4),
        kendall_tau_splits=taus,
        rmse=round(float(np.mean(rmses)), 6),
        rmse_splits=rmses,
        coverage_90=round(float(np.mean(inside)), 4),
        splits=SPLITS,
        held_out=HELD_OUT,
    )


def optimism(
    blank: PredictorArrays, options: Options, accuracy: Floats, kernel: Kernel, seed: int
) -> Optimism:
    """Return by how much the best of many predictions exceeds a prediction from other rows.

    The rows are split in halves at random. The predictor of one half searches the space under
    limits on FLOPs; that of the other half, which had no part in the choice, predicts the network
    found. Half of the rows have larger errors than all of them, so this overestimates rather than
    underestimates.
    """
    gaps = []
    for halving in range(_HALVINGS):
        rng = np.random.default_rng([seed, 1_000 + halving])
        halves = np.array_split(rng.permutation(len(options)), 2)
        a, b = (fit(blank, options[half], accuracy[half], kernel) for half in halves)
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


def _climb(arrays: PredictorArrays, pool: Options, guess: Floats, limit: float) -> Options:
    """Return the best network within ``limit`` FLOPs: of the pool, then by hill climbing.

    A step changes the option of one stage.
    """
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
