"""Which choices matter: how much of the score each explains alone, and what the good ones chose.

The share is the correlation ratio corrected for chance (epsilon squared, Kelley 1935): of the
variance of the score, what lies between the values of one choice, less what as many groups of noise
would show. A search prefers good networks, so choices hang together in its trials and those that it
settled early vary little: the shares describe these trials, not the space.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.objective import Objective
from nas.report.trial_columns import Floats, Trials

NEAR = 0.1
"""Near the front: of the finished trials, the tenth that lacks least to it at its own FLOPs."""

FEWEST = 10
"""So many at least are near the front, where there are as many."""


def importance(trials: Trials, objective: Objective) -> dict[str, Any] | None:
    """Return what the page shows of the choices; None where fewer than three trials finished."""
    known = np.flatnonzero(~np.isnan(trials.scores))
    if len(known) < 3:
        return None
    scores = trials.scores[known]
    near = _near(trials, objective, known)
    found = []
    for place, (name, values) in enumerate(trials.values.items()):
        column = trials.words[known, place]
        found.append(
            {
                "name": name,
                "values": list(values),
                "share": explained(column, scores),
                "all": np.bincount(column, minlength=len(values)).tolist(),
                "near": np.bincount(trials.words[near, place], minlength=len(values)).tolist(),
            }
        )
    return {
        "trials": len(known),
        "near": len(near),
        "flops": _by_flops(trials.flops[known], scores),
        "choices": found,
    }


def explained(groups: NDArray[np.intp], scores: Floats) -> float | None:
    """Return the share of the scores' variance that a grouping explains beyond chance, in [0, 1].

    None where there is nothing to say: one group, scores that are all alike, or groups of one.
    """
    labels, places = np.unique(groups, return_inverse=True)
    total = float(((scores - scores.mean()) ** 2).sum())
    freedom = len(scores) - len(labels)
    if len(labels) < 2 or freedom < 1 or total <= 0:
        return None
    means = np.bincount(places, scores) / np.bincount(places)
    within = float(((scores - means[places]) ** 2).sum())
    share = 1 - (within / freedom) * (len(scores) - 1) / total
    return round(min(1.0, max(0.0, share)), 4)


def _by_flops(flops: Floats, scores: Floats) -> float | None:
    """Return the share that a straight line over the logarithm of FLOPs explains, corrected too."""
    logs, total = np.log(flops + 1), float(((scores - scores.mean()) ** 2).sum())
    spread = float(((logs - logs.mean()) ** 2).sum())
    if total <= 0 or spread <= 0:
        return None
    slope = float((logs - logs.mean()) @ (scores - scores.mean())) / spread
    rest = total - slope * slope * spread
    return round(min(1.0, max(0.0, 1 - rest / (len(scores) - 2) * (len(scores) - 1) / total)), 4)


def _near(trials: Trials, objective: Objective, known: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the trials that lack least to the front at their own FLOPs."""
    quality = trials.quality(objective)[known]
    order = np.lexsort((-quality, trials.flops[known]))
    best = np.empty(len(known))
    best[order] = np.fmax.accumulate(quality[order])
    count = min(len(known), max(FEWEST, round(NEAR * len(known))))
    lacking = best - quality
    chosen: NDArray[np.intp] = known[np.argsort(lacking, kind="stable")[:count]]
    return chosen
