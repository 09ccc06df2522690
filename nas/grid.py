"""The grid search of the compound coefficients: the points evaluated, and one of them chosen."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.accuracy import Accuracy, pooled
from nas.architecture import Architecture
from nas.coefficients import Point
from nas.engines.task import Engine, Outcome, Task
from nas.objective import Objective
from nas.search import SearchFailed
from nas.storage import Record, Study
from nas.trial import derived_seed

CONFIDENCE = 1.96
"""Standard errors of a difference within which two points cannot be told apart: 95 %."""

OnEvaluation = Callable[[int, int], None]
"""Called with each evaluation as soon as it is on disk: how many of about how many."""


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
        chosen: the best eligible one.
        tied: those that cannot be told from it by what was measured (95 %); where the noise was
            not measured, all.
        reference: the paper's coefficients on this baseline.
        noise: standard deviation of a score from seed to seed; None if not measured.
    """

    points: tuple[Evaluated, ...]
    chosen: Evaluated
    tied: tuple[Evaluated, ...]
    reference: Evaluated
    noise: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``coefficients.json``."""
        return {
            "points": [point.to_dict() for point in self.points],
            "chosen": self.chosen.to_dict(),
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
        on_evaluation: told after each.

    Returns:
        What was found; None where the time ended before any eligible point was evaluated.

    Raises:
        SearchFailed: there is no eligible point, or none could be evaluated.
    """
    if not any(point.eligible for point in points):
        raise SearchFailed(
            f"no coefficients scale {baseline.name} to the target within the tolerance"
        )
    race = _Race(points, reference, study, engine, objective, seed, deadline, on_evaluation)
    race.run(rounds)
    return race.result()


class _Race:
    """Rounds of evaluations, one seed each, over ever fewer points."""

    def __init__(
        self,
        points: Sequence[Point],
        reference: Point,
        study: Study,
        engine: Engine,
        objective: Objective,
        seed: int,
        deadline: float | None,
        on_evaluation: OnEvaluation | None,
    ) -> None:
        # Other coefficients may round to the reference's network: then it is evaluated as theirs.
        keys = [point.architecture.key() for point in points]
        key = reference.architecture.key()
        self._points = list(points) if key in keys else [*points, reference]
        self._labelled = keys.index(key) if key in keys else len(points)
        self._reference = reference
        self._study = study
        self._engine = engine
        self._objective = objective
        self._seed = seed
        self._deadline = deadline
        self._on_evaluation = on_evaluation
        self._rows = study.rows()

    def run(self, rounds: int) -> None:
        """Evaluate what is not evaluated yet, round by round, until the time is over."""
        survivors = list(range(len(self._points)))
        sizes = [len(survivors)]
        while len(sizes) < rounds:
            sizes.append(max(2, math.ceil(sizes[-1] / 2)))
        for turn, size in enumerate(sizes):
            if turn > 0:
                # Of the rounds before alone: a study that is continued may hold later ones too.
                scores = {index: self._scores(index, turn) for index in survivors}
                better = sorted(
                    (index for index in survivors if scores[index]),
                    key=lambda index: (-statistics.fmean(scores[index]), index),
                )
                survivors = better[:size]
                if self._labelled not in survivors:
                    survivors.append(self._labelled)
            self._round(turn, survivors, sum(sizes))
            if any(self._number(turn, index) not in self._rows for index in survivors):
                return  # out of time: what was not measured is not guessed

    def _round(self, turn: int, survivors: Sequence[int], total: int) -> None:
        numbers = (self._number(turn, index) for index in survivors)
        waiting = [number for number in numbers if number not in self._rows]
        running = 0
        while waiting or running:
            while waiting and running < self._engine.slots and not self._late():
                number = waiting.pop(0)
                point = self._points[number % len(self._points)]
                self._engine.submit(
                    Task(number, point.architecture, derived_seed(self._seed, "grid", turn))
                )
                running += 1
            if not running:
                return
            self._record(self._engine.next())
            running -= 1
            if self._on_evaluation is not None:
                self._on_evaluation(len(self._rows), max(total, len(self._rows)))

    def _number(self, turn: int, index: int) -> int:
        return turn * len(self._points) + index

    def _record(self, outcome: Outcome) -> None:
        accuracy = outcome.accuracy
        coefficients = self._points[outcome.number % len(self._points)].coefficients
        row = Record(
            number=outcome.number,
            params={
                "alpha": coefficients.alpha,
                "beta": coefficients.beta,
                "gamma": coefficients.gamma,
            },
            state="failed" if accuracy is None else "finished",
            value=None if accuracy is None else self._objective.quality(accuracy),
            steps=outcome.steps,
            attrs={
                "accuracy": None if accuracy is None else accuracy.to_dict(),
                "reason": outcome.error,
                "seconds": round(outcome.seconds, 3),
            },
        )
        self._study.add(row)
        self._rows[row.number] = row

    def _late(self) -> bool:
        if self._deadline is None:
            return False
        usual = [row.attrs["seconds"] for row in self._rows.values()]
        return time.monotonic() + (statistics.median(usual) if usual else 0.0) > self._deadline

    def _of(self, index: int) -> list[Record]:
        """Return the evaluations of a point, by round."""
        return [
            self._rows[number]
            for number in sorted(self._rows)
            if number % len(self._points) == index
        ]

    def _scores(self, index: int, rounds: int | None = None) -> list[float]:
        """Return the scores of a point, in the first so many rounds or in all."""
        end = math.inf if rounds is None else rounds * len(self._points)
        return [row.value for row in self._of(index) if row.value is not None and row.number < end]

    def result(self) -> GridResult | None:
        """Choose; raise :class:`SearchFailed` where every evaluation failed."""
        scores = [self._scores(index) for index in range(len(self._points))]
        evaluated = [self._evaluated(index) for index in range(len(self._points))]
        measured = [i for i, own in enumerate(scores) if own and self._points[i].eligible]
        if not measured:
            reasons = [e.reason for e in evaluated if e.reason]
            if not reasons:
                return None
            raise SearchFailed(
                f"no coefficients could be evaluated; the last failed with: {reasons[-1]}"
            )
        most = max(len(scores[i]) for i in measured)
        means = [statistics.fmean(own) if own else -math.inf for own in scores]
        best = max((i for i in measured if len(scores[i]) == most), key=lambda i: (means[i], -i))
        noise = _noise(scores)
        tied = [
            i
            for i in measured
            if i != best
            and (
                noise is None
                or abs(means[i] - means[best])
                <= CONFIDENCE * noise * math.sqrt(1 / len(scores[i]) + 1 / len(scores[best]))
            )
        ]
        order = sorted(range(len(evaluated)), key=lambda i: -means[i])
        return GridResult(
            points=tuple(evaluated[i] for i in order),
            chosen=evaluated[best],
            tied=tuple(evaluated[i] for i in order if i in tied),
            reference=replace(evaluated[self._labelled], point=self._reference),
            noise=noise,
        )

    def _evaluated(self, index: int) -> Evaluated:
        rows = self._of(index)
        found = [Accuracy(**row.attrs["accuracy"]) for row in rows if row.attrs["accuracy"]]
        own = self._scores(index)
        return Evaluated(
            self._points[index],
            pooled(found) if found else None,
            statistics.fmean(own) if own else None,
            next((row.attrs["reason"] for row in rows if row.attrs["reason"]), ""),
        )


def _noise(scores: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation of a score from seed to seed, pooled over the points.

    What a seed does to all points alike is noise here too: too many ties rather than too few.
    """
    repeated = [own for own in scores if len(own) > 1]
    if not repeated:
        return None
    squares = sum(statistics.variance(own) * (len(own) - 1) for own in repeated)
    return math.sqrt(squares / sum(len(own) - 1 for own in repeated))
