"""The coefficients: the points made and one of them chosen again, from their evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from pydantic import TypeAdapter

from nas.evaluation.objective import Objective, make_objective
from nas.evaluation.seeded_runs import MeasuredNetwork, SeededRun
from nas.evaluation.study import Study
from nas.files import validate
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.records.coefficients_file import CoefficientsFile
from nas.runs.schedule import GRID_POINTS
from nas.runs.verify.json_diff import JsonDifference, differing
from nas.runs.verify.verified_folder import NoRows, runs_of
from nas.spaces.budget import Budget
from nas.strategies.scaling_candidates import (
    ScalingCandidate,
    View,
    candidates,
    reference_point,
    spread,
)
from nas.strategies.scaling_grid import choose_coefficients, with_reference_point

FILE = "coefficients.json"
OBJECTIVE: Objective = make_objective("accuracy", Budget("none"), "loss")

Named = Callable[..., str]
"""What the run calls the study of a phase and of what belongs to it."""
Opened = Callable[[str], AbstractContextManager[Study | None]]

_COEFFICIENTS: TypeAdapter[CoefficientsFile] = TypeAdapter(CoefficientsFile)


class ScaledPoints:
    """The points that were evaluated, which follow from the baseline.

    Args:
        baseline: what they scale.
        view: the network that is trained for another.
        pixels: of the images.
    """

    def __init__(self, baseline: Architecture, view: View, pixels: int) -> None:
        self._baseline = baseline
        self._points = spread(candidates(baseline, view=view, image_resolution=pixels), GRID_POINTS)
        self._reference = reference_point(baseline, view=view, image_resolution=pixels)
        self._raced = with_reference_point(self._points, self._reference)

    def of_document(self, data: Any) -> Iterator[JsonDifference]:
        """Yield where ``coefficients.json`` does not follow from the evaluations in it."""
        file = validate(_COEFFICIENTS, data, FILE)
        runs = {point.coefficients: point.runs for point in file.points}
        networks = [_measured(point, runs.get(point.coefficients, ())) for point in self._raced]
        yield from self._differences(data, networks)

    def of_study(
        self, data: Any, seed: int, named: Named, opened: Opened
    ) -> Iterator[JsonDifference]:
        """Yield where ``coefficients.json`` does not follow from the study.

        Raises:
            NoRows: the study has none of these.
        """
        points = (str(point.coefficients) for point in self._points)
        name = named("grid", self._baseline.key(), *points)
        with opened(name) as study:
            if study is None:
                raise NoRows(name)
            architectures = [point.architecture for point in self._raced]
            networks = runs_of(architectures, study, OBJECTIVE, seed, "grid").all_measured()
        yield from self._differences(data, list(networks))

    def _differences(self, data: Any, networks: list[MeasuredNetwork]) -> Iterator[JsonDifference]:
        found = choose_coefficients(self._raced, self._reference, networks)
        yield from differing(FILE, data, None if found is None else found.to_dict())


def _measured(point: ScalingCandidate, runs: tuple[SeededRun, ...]) -> MeasuredNetwork:
    """Return a point's network with its evaluations, the scores computed from the accuracies."""
    architecture = point.architecture
    network = MeasuredNetwork(architecture.name, measure_cost(architecture), runs)
    return network.rescored(OBJECTIVE)
