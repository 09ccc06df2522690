"""The search of the compound coefficients as one call: candidates, a study, an engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from nas.evaluation.local import local_engine
from nas.evaluation.objective import make_objective
from nas.evaluation.seeded_runs import OnEvaluation
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture
from nas.proxies.protocol import Proxy, TrainsReduced, capabilities_of, reduced
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.strategies.scaling_candidates import ScalingCandidate, candidates, reference_point, spread
from nas.strategies.scaling_grid import GridResult, grid_search

POINTS = 12
"""Coefficients that are evaluated, beside the paper's."""

RANGES = dict.fromkeys(("alpha", "beta", "gamma"), (1.0, 4.0))
"""Of the parameters of a study of coefficients."""


def candidates_for(
    baseline: Architecture, proxy: Proxy, count: int = POINTS
) -> tuple[Sequence[ScalingCandidate], ScalingCandidate]:
    """Return coefficients to evaluate for a baseline, and the paper's.

    Args:
        baseline: what they scale.
        proxy: what measures the scaled networks, and perhaps trains smaller ones in their place.
        count: how many, spread over all that double the FLOPs.
    """
    view = partial(reduced, proxy)
    pixels = proxy.image_resolution if isinstance(proxy, TrainsReduced) else None
    found = candidates(baseline, view=view, image_resolution=pixels)
    return spread(found, count), reference_point(baseline, view=view, image_resolution=pixels)


def search_coefficients(
    space: SearchSpace,
    baseline: Architecture,
    proxy: Proxy,
    *,
    points: int = POINTS,
    seeds: int = 3,
    seed: int = 0,
    jobs: int = 1,
    seconds: float | None = None,
    folder: Path | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> GridResult | None:
    """Search the compound coefficients with which a baseline should grow.

    Args:
        space: that the baseline is from; the proxy's resolution is relative to its own.
        baseline: the network to be scaled.
        proxy: measures scaled networks: one whose capabilities say ``accepts_scaled``.
        points: how many coefficients are evaluated, beside the paper's.
        seeds: trainings of the best; weaker ones have fewer.
        seed: decides all that is drawn.
        jobs: how many evaluations run at once.
        seconds: nothing starts that would probably end later.
        folder: keeps the study, so that the search can be resumed; None: a temporary one.
        on_evaluation: called after each evaluation with how many are done, and about how many
            there will be.

    Returns:
        What was found; None where the time ended before any coefficients were evaluated.

    Raises:
        nas.EvaluationFailed: no coefficients double the FLOPs, none could be evaluated, or too many
            evaluations in a row failed.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    capabilities = capabilities_of(proxy)
    objective = make_objective("accuracy", Budget("none"), capabilities.rank_by)
    with TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        proxy.prepare(space, Budget("none"), place)
        found, reference = candidates_for(baseline, proxy, points)
        with (
            Study(place, "coefficients", {}, RANGES, metric=objective.name) as study,
            closing(local_engine(proxy, jobs)) as engine,
        ):
            return grid_search(
                baseline,
                found,
                reference,
                study,
                engine,
                objective,
                seed=seed,
                rounds=seeds,
                deadline=deadline,
                tolerant=capabilities.partial,
                on_evaluation=on_evaluation,
            )
