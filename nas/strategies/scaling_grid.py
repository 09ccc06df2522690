"""The grid search of the compound coefficients: the points evaluated, and one of them chosen."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nas.accuracy import Accuracy
from nas.errors import EvaluationFailed
from nas.evaluation.executor import Engine
from nas.evaluation.objective import Objective, rank_key
from nas.evaluation.seeded_runs import MeasuredNetwork, OnEvaluation, SeededRun, SeededRuns
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.statistics import compare
from nas.strategies.scaling_candidates import ScalingCandidate, imbalance

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """A point with what was measured of it; ``accuracy`` is None where nothing was."""

    point: ScalingCandidate
    accuracy: Accuracy | None
    score: float | None
    reason: str = ""
    runs: tuple[SeededRun, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the point as it stands in ``coefficients.json``."""
        point, c = self.point, self.point.coefficients
        return {
            "alpha": c.alpha,
            "beta": c.beta,
            "gamma": c.gamma,
            "product": round(c.product, 6),
            "realised_flops": point.flops,
            "ratio": round(point.ratio, 6),
            "proxy_flops": point.proxy_flops,
            "proxy_ratio": round(point.proxy_ratio, 6),
            "only_enlarges": point.only_enlarges,
            "eligible": point.eligible,
            "accuracy": None if self.accuracy is None else self.accuracy.to_dict(),
            "runs": [run.to_dict() for run in self.runs],
        }


@dataclass(frozen=True)
class GridResult:
    """What the grid search found.

    Attributes:
        points: all points evaluated, the best first, those without an accuracy last.
        chosen: the most balanced one of those that had all seeds and cannot be told from the best.
        best: the eligible one with the highest score.
        tied: those that cannot be told from the best by what was measured (95 %), the chosen left
            out; where the noise was not measured, all.
        reference: the paper's coefficients on this baseline.
        noise: standard deviation of a score from seed to seed, what a seed does to all points alike
            taken out; None if not measured.
    """

    points: tuple[Evaluated, ...]
    chosen: Evaluated
    best: Evaluated
    tied: tuple[Evaluated, ...]
    reference: Evaluated
    noise: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``coefficients.json``."""
        return {
            "points": [point.to_dict() for point in self.points],
            "chosen": self.chosen.to_dict(),
            "best": self.best.to_dict(),
            "tied": [point.to_dict() for point in self.tied],
            "reference": {"name": "EfficientNet (Tan & Le 2019)", **self.reference.to_dict()},
            "seed_to_seed_deviation": self.noise,
        }


def grid_search(
    baseline: Architecture,
    points: Sequence[ScalingCandidate],
    reference: ScalingCandidate,
    study: Study,
    engine: Engine,
    objective: Objective,
    *,
    seed: int,
    rounds: int = 3,
    deadline: float | None = None,
    tolerant: bool = False,
    on_evaluation: OnEvaluation | None = None,
) -> GridResult | None:
    """Evaluate the points, the weaker ones with one seed, the better ones with several.

    Successive halving over seeds: every point is trained with a first seed, the better half with a
    second, the better half of those with a third. The reference is in every round, whatever its
    rank. Every evaluation is in the study before it counts; a study that has some is continued.

    Args:
        baseline: what the points scale.
        points: what may be chosen.
        reference: the paper's coefficients; evaluated beside the points.
        study: where evaluations are kept; of these points and no others.
        engine: where they run.
        objective: ranks by accuracy or by loss; FLOPs being equal, there is no reward.
        seed: of all trainings.
        rounds: seeds of the best.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
        tolerant: the proxy knows only part of the networks: failures in a row do not end the run.
        on_evaluation: told after each.

    Returns:
        What was found; None where the time ended before any eligible point was evaluated.

    Raises:
        EvaluationFailed: there is no eligible point, none could be evaluated, or too many
            evaluations in a row failed.
    """
    if not any(point.eligible for point in points):
        raise EvaluationFailed(
            f"no coefficients scale {baseline.name} to the target within the tolerance"
        )
    raced = with_reference_point(points, reference)
    sizes = _round_sizes(len(raced), rounds)
    runs = SeededRuns(
        [point.architecture for point in raced],
        study,
        engine,
        objective,
        seed=seed,
        purpose="grid",
        params=[asdict(point.coefficients) for point in raced],
        deadline=deadline,
        tolerant=tolerant,
        total=sum(sizes),
        on_evaluation=on_evaluation,
    )
    _race(raced, reference, runs, sizes)
    return choose_coefficients(raced, reference, runs.all_measured())


def with_reference_point(
    points: Sequence[ScalingCandidate], reference: ScalingCandidate
) -> list[ScalingCandidate]:
    """Return the points and the reference, unless one of them has the reference's network."""
    keys = {point.architecture.key() for point in points}
    return list(points) if reference.architecture.key() in keys else [*points, reference]


def _place_of(reference: ScalingCandidate, raced: Sequence[ScalingCandidate]) -> int:
    # Other coefficients may round to the reference's network: then it is evaluated as theirs.
    return [point.architecture.key() for point in raced].index(reference.architecture.key())


def _round_sizes(points: int, rounds: int) -> list[int]:
    """Return how many points each round evaluates, the reference perhaps apart."""
    sizes = [points]
    while len(sizes) < rounds:
        sizes.append(max(2, math.ceil(sizes[-1] / 2)))
    return sizes


def _race(
    raced: Sequence[ScalingCandidate],
    reference: ScalingCandidate,
    runs: SeededRuns,
    sizes: Sequence[int],
) -> None:
    """Evaluate what is not evaluated yet, round by round, until the time is over."""
    labelled = _place_of(reference, raced)
    survivors = list(range(len(raced)))
    for turn, size in enumerate(sizes):
        if turn > 0:
            # Of the rounds before alone: a study that is continued may hold later ones too.
            scores = {index: runs.measured(index).scores(turn) for index in survivors}
            better = sorted(
                (index for index in survivors if scores[index]),
                key=lambda i: _rank(raced[i], statistics.fmean(scores[i].values()), i),
            )
            survivors = better[:size]
            if labelled not in survivors:
                survivors.append(labelled)
        logger.debug("coefficients: round %d of %d points", turn, len(survivors))
        if not runs.run(turn, survivors):
            return  # out of time: what was not measured is not guessed


def _rank(point: ScalingCandidate, score: float | None, index: int) -> tuple[float, int, int, int]:
    """Return a point's rank; those without a score come last, in the order of the points."""
    if score is None:
        return (math.inf, 0, 0, index)
    return rank_key(score, measure_cost(point.architecture), index)


def choose_coefficients(
    raced: Sequence[ScalingCandidate],
    reference: ScalingCandidate,
    networks: Sequence[MeasuredNetwork],
) -> GridResult | None:
    """Choose among points that were evaluated.

    Args:
        raced: see :func:`with_reference_point`.
        reference: the paper's coefficients.
        networks: the evaluations of each point.

    Returns:
        What was found; None where no eligible point was evaluated.

    Raises:
        EvaluationFailed: every evaluation failed.
    """
    found = compare([network.scores() for network in networks])
    evaluated = [
        Evaluated(point, network.accuracy, score, network.reason, network.runs)
        for point, network, score in zip(raced, networks, found.means, strict=True)
    ]
    measured = [i for i, n in enumerate(found.counts) if n and raced[i].eligible]
    if not measured:
        reasons = [e.reason for e in evaluated if e.reason]
        if not reasons:
            return None
        raise EvaluationFailed(
            f"no coefficients could be evaluated; the last failed with: {reasons[-1]}"
        )
    most = max(found.counts[i] for i in measured)
    ranks = [_rank(raced[index], mean, index) for index, mean in enumerate(found.means)]
    last = [i for i in measured if found.counts[i] == most]
    best = min(last, key=lambda i: ranks[i])
    alike = [i for i in measured if i == best or not found.difference(i, best).real]
    # Where measurements decide nothing the paper's finding does: dimensions grow together.
    chosen = min(
        (i for i in last if i in alike),
        key=lambda i: (imbalance(raced[i]), ranks[i]),
    )
    order = sorted(range(len(evaluated)), key=lambda i: ranks[i])
    return GridResult(
        points=tuple(evaluated[i] for i in order),
        chosen=evaluated[chosen],
        best=evaluated[best],
        tied=tuple(evaluated[i] for i in order if i in alike and i != chosen),
        reference=replace(evaluated[_place_of(reference, raced)], point=reference),
        noise=found.deviation,
    )
