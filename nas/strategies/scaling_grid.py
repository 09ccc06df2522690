"""The grid search of the compound coefficients: the points evaluated, and one of them chosen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nas.accuracy import Accuracy, pooled
from nas.errors import EvaluationFailed
from nas.evaluation.executor import Engine
from nas.evaluation.objective import Objective, rank_key
from nas.evaluation.seeded_runs import OnEvaluation, SeededRuns
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.statistics import compare
from nas.strategies.scaling_candidates import Point, imbalance


@dataclass(frozen=True)
class Evaluated:
    """A point with what was measured of it; ``accuracy`` is None where nothing was."""

    point: Point
    accuracy: Accuracy | None
    score: float | None
    reason: str = ""

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
    points: Sequence[Point],
    reference: Point,
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
    race = _Race(points, reference)
    sizes = race.sizes(rounds)
    evaluations = SeededRuns(
        [point.architecture for point in race.points],
        study,
        engine,
        objective,
        seed=seed,
        purpose="grid",
        params=[asdict(point.coefficients) for point in race.points],
        deadline=deadline,
        tolerant=tolerant,
        total=sum(sizes),
        on_evaluation=on_evaluation,
    )
    race.run(evaluations, sizes)
    return race.result(evaluations)


class _Race:
    """Rounds of evaluations, one seed each, over ever fewer points."""

    def __init__(self, points: Sequence[Point], reference: Point) -> None:
        # Other coefficients may round to the reference's network: then it is evaluated as theirs.
        keys = [point.architecture.key() for point in points]
        key = reference.architecture.key()
        self.points = list(points) if key in keys else [*points, reference]
        self._labelled = keys.index(key) if key in keys else len(points)
        self._reference = reference

    def sizes(self, rounds: int) -> list[int]:
        """Return how many points each round evaluates, the reference perhaps apart."""
        sizes = [len(self.points)]
        while len(sizes) < rounds:
            sizes.append(max(2, math.ceil(sizes[-1] / 2)))
        return sizes

    def run(self, rounds: SeededRuns, sizes: Sequence[int]) -> None:
        """Evaluate what is not evaluated yet, round by round, until the time is over."""
        survivors = list(range(len(self.points)))
        for turn, size in enumerate(sizes):
            if turn > 0:
                # Of the rounds before alone: a study that is continued may hold later ones too.
                scores = {index: rounds.scores(index, turn) for index in survivors}
                better = sorted(
                    (index for index in survivors if scores[index]),
                    key=lambda index: self._rank(index, statistics.fmean(scores[index].values())),
                )
                survivors = better[:size]
                if self._labelled not in survivors:
                    survivors.append(self._labelled)
            if not rounds.run(turn, survivors):
                return  # out of time: what was not measured is not guessed

    def result(self, rounds: SeededRuns) -> GridResult | None:
        """Choose; raise :class:`EvaluationFailed` where every evaluation failed."""
        found = compare([rounds.scores(index) for index in range(len(self.points))])
        evaluated = [
            self._evaluated(index, rounds, found.means[index]) for index in range(len(self.points))
        ]
        measured = [i for i, n in enumerate(found.counts) if n and self.points[i].eligible]
        if not measured:
            reasons = [e.reason for e in evaluated if e.reason]
            if not reasons:
                return None
            raise EvaluationFailed(
                f"no coefficients could be evaluated; the last failed with: {reasons[-1]}"
            )
        most = max(found.counts[i] for i in measured)
        ranks = [self._rank(index, mean) for index, mean in enumerate(found.means)]
        last = [i for i in measured if found.counts[i] == most]
        best = min(last, key=lambda i: ranks[i])
        alike = [i for i in measured if i == best or not found.difference(i, best).real]
        # Where measurements decide nothing the paper's finding does: dimensions grow together.
        chosen = min(
            (i for i in last if i in alike),
            key=lambda i: (imbalance(self.points[i]), ranks[i]),
        )
        order = sorted(range(len(evaluated)), key=lambda i: ranks[i])
        return GridResult(
            points=tuple(evaluated[i] for i in order),
            chosen=evaluated[chosen],
            best=evaluated[best],
            tied=tuple(evaluated[i] for i in order if i in alike and i != chosen),
            reference=replace(evaluated[self._labelled], point=self._reference),
            noise=found.deviation,
        )

    def _rank(self, index: int, score: float | None) -> tuple[float, int, int, int]:
        """Return a point's rank; those without a score come last, in the order of the points."""
        if score is None:
            return (math.inf, 0, 0, index)
        return rank_key(score, measure_cost(self.points[index].architecture), index)

    def _evaluated(self, index: int, rounds: SeededRuns, score: float | None) -> Evaluated:
        found = list(rounds.accuracies(index).values())
        return Evaluated(
            self.points[index], pooled(found) if found else None, score, rounds.reason(index)
        )
