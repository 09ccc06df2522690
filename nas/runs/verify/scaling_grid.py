"""The coefficients: what each point costs, and which of them is chosen, computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

from nas.accuracy import Accuracy
from nas.evaluation.objective import make_objective
from nas.evaluation.study import Study
from nas.files import validate
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import Coefficients, grows
from nas.runs.schedule import GRID_POINTS
from nas.runs.verify.json_diff import Difference, differing
from nas.runs.verify.result_folder import PAST, NoEngine, NoRows
from nas.spaces.budget import Budget
from nas.strategies.scaling_candidates import (
    Point,
    View,
    candidates,
    imbalance,
    make_point,
    reference_point,
    spread,
)
from nas.strategies.scaling_grid import Evaluated, grid_search

FILE = "coefficients.json"
TARGET, TOLERANCE = 2.0, 0.05

Named = Callable[..., str]
"""What the run calls the study of a phase and of what belongs to it."""
Opened = Callable[[str], AbstractContextManager[Study | None]]

_Coefficient = Annotated[float, Field(ge=1, le=4)]


class _Point(BaseModel):
    alpha: _Coefficient
    beta: _Coefficient
    gamma: _Coefficient
    accuracy: Accuracy | None

    @property
    def coefficients(self) -> Coefficients:
        return Coefficients(self.alpha, self.beta, self.gamma)

    @property
    def count(self) -> int:
        return 0 if self.accuracy is None else self.accuracy.n


class _Document(BaseModel):
    points: Annotated[list[_Point], Field(min_length=1)]
    chosen: _Point
    best: _Point
    tied: list[_Point]
    seed_to_seed_deviation: float | None


_DOCUMENT: TypeAdapter[_Document] = TypeAdapter(_Document)


def of_document(data: Any, baseline: Architecture, view: View, pixels: int) -> Iterator[Difference]:
    """Yield where the points' costs, or the choice among them, do not follow from the rest.

    Taken as written: the order of the points, by a score that needs the single trainings, and which
    of them cannot be told from the best.
    """
    document = validate(_DOCUMENT, data, FILE)
    made = [_evaluated(point, baseline, view, pixels) for point in document.points]
    points = [one.to_dict() for one in made]
    yield from differing(FILE, data["points"], points, "points")
    reference = reference_point(baseline, view=view, image_resolution=pixels)
    same = [one.accuracy for one in made if one.point.architecture.key() == _key(reference)]
    named = Evaluated(reference, same[0] if same else None, None).to_dict()
    named = {"name": "EfficientNet (Tan & Le 2019)", **named}
    yield from differing(FILE, data["reference"], named, "reference")

    counts = [point.count for point in document.points]
    measured = [i for i, one in enumerate(made) if counts[i] and one.point.eligible]
    last = [i for i in measured if counts[i] == max(counts[j] for j in measured)]
    best = last[0]  # the points are in the order of their scores
    kept = {point.coefficients for point in (*document.tied, document.chosen)}
    alike = [i for i in measured if i == best or document.points[i].coefficients in kept]
    if document.seed_to_seed_deviation is None:
        alike = measured  # nothing is known of the noise: nothing is told apart
    chosen = min((i for i in alike if i in last), key=lambda i: (imbalance(made[i].point), i))
    yield from differing(FILE, data["best"], points[best], "best")
    yield from differing(FILE, data["chosen"], points[chosen], "chosen")
    yield from differing(FILE, data["tied"], [points[i] for i in alike if i != chosen], "tied")


def of_study(
    data: Any, baseline: Architecture, view: View, pixels: int, seed: int,
    named: Named, opened: Opened,
) -> Iterator[Difference]:  # fmt: skip
    """Yield where the document does not follow from every training, as the study has them.

    Raises:
        NoRows: the study has none of these.
    """
    points = spread(candidates(baseline, view=view, image_resolution=pixels), GRID_POINTS)
    reference = reference_point(baseline, view=view, image_resolution=pixels)
    name = named("grid", baseline.key(), *(str(point.coefficients) for point in points))
    with opened(name) as study:
        if study is None:
            raise NoRows(name)
        objective = make_objective("accuracy", Budget("none"), "loss")
        found = grid_search(
            baseline, points, reference, study, NoEngine(), objective, seed=seed, deadline=PAST
        )
    yield from differing(FILE, data, None if found is None else found.to_dict())


def _evaluated(one: _Point, baseline: Architecture, view: View, pixels: int) -> Evaluated:
    point = make_point(baseline, one.coefficients, view=view, image_resolution=pixels)
    fits = abs(point.ratio / TARGET - 1) <= TOLERANCE and grows(baseline, one.coefficients)
    return Evaluated(replace(point, eligible=fits), one.accuracy, None)


def _key(point: Point) -> str:
    return point.architecture.key()
