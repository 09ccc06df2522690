"""The grid search of the compound coefficients, on FLOPs that the scaled networks really have.

Tan & Le 2019 (arXiv 1905.11946), section 3.3: fix phi = 1, constrain alpha * beta**2 * gamma**2 to
about 2, and search the coefficients on the baseline. With the official rounding such a product
costs anything from 1.9 to 3.3 times the baseline, so here the constraint is on what the network
costs after rounding; the product is shown beside it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product as combinations
from typing import Any, Protocol

from nas.accuracy import Accuracy, pooled
from nas.architecture import Architecture
from nas.cost import measure_cost
from nas.engines.task import Engine, Task
from nas.errors import InputError
from nas.objective import Objective
from nas.scaling import PAPER, Coefficients, compound, grows
from nas.search import SearchFailed
from nas.storage import Record, Study
from nas.trial import derived_seed

STEP = 0.01
LARGEST = (2.2, 1.5, 1.5)
"""How far alpha, beta and gamma are tried: each alone a little past twice the FLOPs."""

PROXY_TOLERANCE = 0.15
"""How far a point's cost at the proxy's scale may be off the target before it is passed over."""

View = Callable[[Architecture], Architecture]


@dataclass(frozen=True)
class Point:
    """One way to scale the baseline by one step of phi.

    Attributes:
        coefficients: alpha, beta, gamma; of the many that round to this network, those whose
            product is nearest to the target.
        architecture: the scaled baseline.
        flops: what it costs.
        ratio: its FLOPs over the baseline's.
        proxy_flops: what the network costs that the proxy really trains.
        proxy_ratio: the same over the baseline's.
        only_enlarges: the proxy's images are enlarged for it beyond what they hold, so more
            resolution shows the network nothing new.
        eligible: within the tolerance, so that it may be chosen.
    """

    coefficients: Coefficients
    architecture: Architecture
    flops: int
    ratio: float
    proxy_flops: int
    proxy_ratio: float
    only_enlarges: bool
    eligible: bool


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


def make_point(
    baseline: Architecture,
    coefficients: Coefficients,
    *,
    view: View,
    image_resolution: int | None = None,
    eligible: bool = True,
) -> Point:
    """Return a point with its costs measured, for real and as the proxy sees it."""
    scaled = compound(baseline, coefficients, 1, f"{baseline.name}-{coefficients}")
    flops, proxy_flops = measure_cost(scaled).flops, measure_cost(view(scaled)).flops
    return Point(
        coefficients,
        scaled,
        flops,
        flops / measure_cost(baseline).flops,
        proxy_flops,
        proxy_flops / measure_cost(view(baseline)).flops,
        image_resolution is not None
        and coefficients.gamma > 1
        and view(scaled).resolution > image_resolution,
        eligible,
    )


def candidates(
    baseline: Architecture,
    *,
    view: View = lambda architecture: architecture,
    image_resolution: int | None = None,
    target: float = 2.0,
    tolerance: float = 0.05,
    nominal: bool = False,
) -> list[Point]:
    """Return the distinct networks that cost ``target`` times the baseline, by (alpha, beta).

    Networks that the proxy could not tell apart are listed once. Coefficients whose family would
    not grow at every step (resolution alone, say) are left out.

    Args:
        baseline: what is scaled.
        view: the network that the proxy trains for a given one.
        image_resolution: pixels of the proxy's images as they come; None: unknown.
        target: FLOPs over the baseline's.
        tolerance: relative, on both sides.
        nominal: constrain alpha * beta**2 * gamma**2, as the paper does, not the real FLOPs.
    """
    axes = [
        [round(1 + STEP * i, 2) for i in range(round((most - 1) / STEP) + 1)] for most in LARGEST
    ]
    # Most steps of a coefficient change nothing: rounding makes a few classes on each axis.
    depths = _classes(axes[0], lambda a: compound(baseline, Coefficients(a, 1, 1), 1))
    widths = _classes(axes[1], lambda b: compound(baseline, Coefficients(1, b, 1), 1))
    pixels = _classes(axes[2], lambda c: compound(baseline, Coefficients(1, 1, c), 1))
    base = measure_cost(baseline).flops
    kept: list[Coefficients] = []
    for depth, width in combinations(depths, widths):
        network = compound(baseline, Coefficients(depth[0], width[0], 1), 1)
        for pixel in pixels:
            resolution = compound(baseline, Coefficients(1, 1, pixel[0]), 1).resolution
            ratio = measure_cost(network, resolution).flops / base
            if not nominal and abs(ratio / target - 1) > tolerance:
                continue
            for coefficients in sorted(
                (Coefficients(*triple) for triple in combinations(depth, width, pixel)),
                key=lambda c: (abs(c.product - target), c.gamma, c.beta),
            ):
                if nominal and abs(coefficients.product / target - 1) > tolerance:
                    break
                if grows(baseline, coefficients):
                    kept.append(coefficients)
                    break
    points: dict[str, Point] = {}
    for coefficients in kept:
        point = make_point(baseline, coefficients, view=view, image_resolution=image_resolution)
        points.setdefault(view(point.architecture).key(), point)
    return list(points.values())


def _classes(values: Sequence[float], scaled: Callable[[float], Architecture]) -> list[list[float]]:
    classes: dict[str, list[float]] = {}
    for value in values:
        classes.setdefault(scaled(value).key(), []).append(value)
    return list(classes.values())


def spread(points: Sequence[Point], count: int, target: float = 2.0) -> list[Point]:
    """Return ``count`` points that lie far from each other in how they share out the FLOPs.

    Points whose cost at the proxy's scale is near the target come first: only those are compared
    at equal cost by the proxy too. Chosen one by one, each the farthest from those chosen, from
    the one that shares most evenly on.
    """
    fair = [p for p in points if abs(p.proxy_ratio / target - 1) <= PROXY_TOLERANCE]
    rest = sorted(
        (p for p in points if p not in fair), key=lambda p: abs(math.log(p.proxy_ratio / target))
    )
    pool = fair + rest[: max(0, count - len(fair))]
    if len(pool) <= count:
        return pool
    chosen = [min(pool, key=lambda p: _distance(_shares(p), (1 / 3, 1 / 3, 1 / 3)))]
    while len(chosen) < count:
        chosen.append(
            max(
                (p for p in pool if p not in chosen),
                key=lambda p: min(_distance(_shares(p), _shares(q)) for q in chosen),
            )
        )
    return [point for point in points if point in chosen]


def _shares(point: Point) -> tuple[float, float, float]:
    """Return which share of the growth goes to depth, width and resolution."""
    c = point.coefficients
    logs = (math.log(c.alpha), 2 * math.log(c.beta), 2 * math.log(c.gamma))
    return (logs[0] / sum(logs), logs[1] / sum(logs), logs[2] / sum(logs))


def _distance(a: Iterable[float], b: Iterable[float]) -> float:
    return math.dist(tuple(a), tuple(b))


class OnEvaluation(Protocol):
    """Called with each evaluation as soon as it is on disk: how many of about how many."""

    def __call__(self, done: int, total: int) -> None:
        """Take note."""
        ...


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
) -> GridResult:
    """Evaluate the points, the weaker ones with one seed, the better ones with several.

    Successive halving over seeds: every point is trained with a first seed, the better half with a
    second, the better half of those with a third. The reference is in every round, whatever its
    rank. Every evaluation is in the study before it counts; a study that has some is continued.

    Args:
        baseline: what the points scale.
        points: what may be chosen.
        reference: the paper's coefficients; evaluated beside the points.
        study: where evaluations are kept.
        engine: where they run.
        objective: ranks by accuracy or by loss; FLOPs being equal, there is no reward.
        seed: of all trainings.
        rounds: seeds of the best.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
        on_evaluation: told after each.

    Raises:
        InputError: no eligible points.
        SearchFailed: no eligible point could be evaluated.
    """
    everyone = [*points, *([] if _index(points, reference) is not None else [reference])]
    if not any(point.eligible for point in points):
        raise InputError(
            f"no coefficients scale {baseline.name} to the target within the tolerance"
        )
    rows = study.rows()
    results: dict[tuple[int, int], tuple[Accuracy | None, str]] = {}
    for row in rows.values():
        accuracy = row.attrs["accuracy"]
        results[divmod(row.number, 1000)] = (
            None if accuracy is None else Accuracy(**accuracy),
            row.attrs["reason"],
        )
    survivors = list(range(len(everyone)))
    sizes = [len(everyone)]
    for _ in range(rounds - 1):
        sizes.append(max(2, math.ceil(sizes[-1] / 2)))
    total = sum(sizes)
    usual = [row.attrs["seconds"] for row in rows.values()]
    for turn in range(rounds):
        waiting = [i for i in survivors if (turn, i) not in results]
        running = 0
        while waiting or running:
            while waiting and running < engine.slots and not _late(deadline, usual):
                index = waiting.pop(0)
                number = turn * 1000 + index
                engine.submit(
                    Task(number, everyone[index].architecture, derived_seed(seed, "grid", turn))
                )
                running += 1
            if not running:
                break
            outcome = engine.next()
            running -= 1
            turn_index = divmod(outcome.number, 1000)
            c = everyone[turn_index[1]].coefficients
            study.add(
                Record(
                    number=outcome.number,
                    params={"alpha": c.alpha, "beta": c.beta, "gamma": c.gamma},
                    state="failed" if outcome.accuracy is None else "finished",
                    value=None if outcome.accuracy is None else objective.quality(outcome.accuracy),
                    steps=outcome.steps,
                    attrs={
                        "accuracy": None
                        if outcome.accuracy is None
                        else outcome.accuracy.to_dict(),
                        "reason": outcome.error,
                        "seconds": round(outcome.seconds, 3),
                    },
                )
            )
            results[turn_index] = (outcome.accuracy, outcome.error)
            usual.append(outcome.seconds)
            if on_evaluation is not None:
                on_evaluation(len(results), total)
        if any((turn, i) not in results for i in survivors):
            break  # out of time: what was not measured is not guessed
        means = {i: _mean_score(results, i, objective) for i in survivors}
        ranked = sorted(
            (i for i in survivors if means[i] is not None), key=lambda i: (-(means[i] or 0.0), i)
        )
        if turn + 1 < rounds:
            survivors = ranked[: sizes[turn + 1]]
            labelled = _index(everyone, reference)
            if labelled is not None and labelled not in survivors:
                survivors.append(labelled)
    return _result(everyone, reference, results, objective)


def _index(points: Sequence[Point], reference: Point) -> int | None:
    """Return where the reference's network is among the points: other coefficients may make it."""
    keys = [point.architecture.key() for point in points]
    key = reference.architecture.key()
    return keys.index(key) if key in keys else None


def _late(deadline: float | None, usual: Sequence[float]) -> bool:
    if deadline is None:
        return False
    return time.monotonic() + (statistics.median(usual) if usual else 0.0) > deadline


def _scores(
    results: dict[tuple[int, int], tuple[Accuracy | None, str]], index: int, objective: Objective
) -> list[float]:
    return [
        objective.quality(accuracy)
        for (_, i), (accuracy, _) in sorted(results.items(), key=lambda item: item[0])
        if i == index and accuracy is not None
    ]


def _mean_score(
    results: dict[tuple[int, int], tuple[Accuracy | None, str]], index: int, objective: Objective
) -> float | None:
    scores = _scores(results, index, objective)
    return statistics.fmean(scores) if scores else None


def _result(
    everyone: Sequence[Point],
    reference: Point,
    results: dict[tuple[int, int], tuple[Accuracy | None, str]],
    objective: Objective,
) -> GridResult:
    evaluated: list[Evaluated] = []
    scores: list[list[float]] = []
    for index, point in enumerate(everyone):
        mine = sorted((key, value) for key, value in results.items() if key[1] == index)
        found = [accuracy for _, (accuracy, _) in mine if accuracy is not None]
        own = _scores(results, index, objective)
        evaluated.append(
            Evaluated(
                point,
                pooled(found) if found else None,
                statistics.fmean(own) if own else None,
                next((reason for _, (_, reason) in mine if reason), ""),
            )
        )
        scores.append(own)
    # What a seed does to all points alike is noise here too: too many ties rather than too few.
    squares, freedom = 0.0, 0
    for own in scores:
        if len(own) > 1:
            squares += statistics.variance(own) * (len(own) - 1)
            freedom += len(own) - 1
    noise = math.sqrt(squares / freedom) if freedom else None
    measured = [i for i, e in enumerate(evaluated) if e.score is not None and e.point.eligible]
    if not measured:
        reasons = [e.reason for e in evaluated if e.reason]
        raise SearchFailed(
            f"no coefficients could be evaluated; the last failed with: {reasons[-1]}"
            if reasons
            else "the time ended before any coefficients were evaluated; resume it with more"
        )
    most = max(len(scores[i]) for i in measured)
    best = max(
        (i for i in measured if len(scores[i]) == most),
        key=lambda i: (evaluated[i].score or 0.0, -i),
    )
    tied = []
    for i in measured:
        if i == best:
            continue
        error = (
            math.inf
            if noise is None
            else noise * math.sqrt(1 / len(scores[i]) + 1 / len(scores[best]))
        )
        if abs((evaluated[i].score or 0.0) - (evaluated[best].score or 0.0)) <= 1.96 * error:
            tied.append(evaluated[i])
    order = sorted(evaluated, key=lambda e: (e.score is None, -(e.score or 0.0)))
    return GridResult(
        tuple(order),
        evaluated[best],
        tuple(sorted(tied, key=lambda e: -(e.score or 0.0))),
        replace(evaluated[_index(everyone, reference) or 0], point=reference),
        noise,
    )


def reference_point(
    baseline: Architecture, *, view: View, image_resolution: int | None, tolerance: float = 0.05
) -> Point:
    """Return the paper's (1.2, 1.1, 1.15) on this baseline, eligible only if it meets the target.

    On EfficientNet-B0 itself it costs 2.57 times the baseline, not 2.
    """
    point = make_point(baseline, PAPER, view=view, image_resolution=image_resolution)
    fits = abs(point.ratio / 2 - 1) <= tolerance and grows(baseline, PAPER)
    return replace(point, eligible=fits)
