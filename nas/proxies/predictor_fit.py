"""Fitting a predictor to a benchmark table, and measuring what it reaches on held-out rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nas._version import __version__
from nas.errors import InputError
from nas.proxies.benchmark_table import Table
from nas.proxies.gaussian_process import METHOD, fit, learn_kernel, unfitted
from nas.proxies.predictor import Floats, Predictor, PredictorMetadata
from nas.proxies.predictor_validation import (
    HeldOutSplit,
    Say,
    held_out_scores,
    held_out_splits,
    optimism,
)
from nas.proxies.stage_options import Options, options_of
from nas.spaces.search_space import SearchSpace

LEAST_ROWS = 100
"""A predictor needs at least so many different architectures."""


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
    """Return a predictor fitted on all rows, with what it reaches on held-out rows.

    Rows of one architecture count as one, with their mean, so that no architecture is on both
    sides of a split. For every split everything is fitted anew: length scales, weights and errors.

    Args:
        table: rows of ``space``.
        space: one whose stages have one width each.
        metric: what the accuracies are, in words.
        data: what they were measured on.
        source: who measured them, and the licence.
        seed: of the splits and batches.
        say: called with a line on the progress.

    Raises:
        InputError: a row is not of the space, too few rows, or a space with widths to choose.
    """
    if space.resolutions:
        raise InputError(
            f"space {space.name!r}: resolution is a choice, which the predictor cannot be fitted to"
        )
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
    blank = unfitted(space)
    scores = held_out_scores(held_out_splits(blank, options, accuracy, seed), say)
    say(f"fit on all {len(options):,} architectures")
    kernel = learn_kernel(blank, options, accuracy, seed)
    fitted = fit(blank, options, accuracy, kernel)
    say("optimism of the best of many")
    return Predictor(
        PredictorMetadata.model_validate(
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
                "optimism": optimism(blank, options, accuracy, kernel, seed),
                "arrays_sha256": "",
            }
        ),
        fitted,
        space,
    )


def held_out(table: Table, space: SearchSpace, seed: int = 0) -> Iterator[HeldOutSplit]:
    """Yield the random splits by which a predictor is judged, each fitted anew."""
    return held_out_splits(unfitted(space), *_unique(table, space), seed)


def _unique(table: Table, space: SearchSpace) -> tuple[Options, Floats]:
    """Return the different networks of a table, and the mean accuracy of each."""
    every = options_of(table.canonical(space), space)
    options, index = np.unique(every, axis=0, return_inverse=True)
    total = np.bincount(index.ravel(), [row.accuracy for row in table.rows])
    return options, total / np.bincount(index.ravel())
