"""A trial: an architecture that a search has evaluated, and its form as a row of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from nas.accuracy import Accuracy
from nas.evaluation.study import Study
from nas.evaluation.study_row import State, StudyRow
from nas.files import validate
from nas.networks.architecture import Architecture
from nas.networks.cost import Cost
from nas.spaces.search_space import SearchSpace, Value


@dataclass(frozen=True)
class Trial:
    """An evaluated architecture.

    Attributes:
        number: its place in the order of proposals, from 0.
        choices: what the sampler proposed.
        architecture: what the choices make, at the space's resolution.
        cost: measured before the evaluation.
        state: ``stopped``: early, because it was weak; ``failed``: see ``reason``.
        accuracy: None unless finished.
        score: the objective's value, higher is better; None unless finished.
        steps: intermediate values, higher is better, by step.
        reason: why it failed, one line; empty otherwise.
        seconds: wall time of its evaluation.
        retries: how often it was restarted because a worker or a node had died.
    """

    number: int
    choices: Mapping[str, Value]
    architecture: Architecture
    cost: Cost
    state: State
    accuracy: Accuracy | None = None
    score: float | None = None
    steps: tuple[tuple[int, float], ...] = ()
    reason: str = ""
    seconds: float = 0.0
    retries: int = 0


def read_trials(study: Study, space: SearchSpace) -> list[Trial]:
    """Return the trials that a study of ``space`` holds, by number.

    Raises:
        InputError: a row's choices are not the space's.
    """
    rows = study.rows()
    return [trial_of(rows[number], space) for number in sorted(rows)]


def row_cost(row: StudyRow) -> Cost:
    """Return the cost in a row of a search's study.

    Raises:
        InputError: the row has none.
    """
    return validate(_COST, row.attrs.get("cost"), f"study: trial {row.number}: cost")


def network_attrs(architecture: Architecture, cost: Cost) -> dict[str, Any]:
    """Return the attributes of a trial's row that describe its network."""
    return {
        "architecture": architecture.name,
        "cost": cost.to_dict(),
        # Again, as numbers of their own: dashboards sort and draw by them.
        "flops": cost.flops,
        "params": cost.params,
    }


def trial_of(row: StudyRow, space: SearchSpace) -> Trial:
    """Return a row of a search's study as a trial.

    Raises:
        InputError: the row's choices are not the space's, or it lacks what a search writes.
    """
    attrs = validate(_ATTRS, dict(row.attrs), f"study: trial {row.number}")
    return Trial(
        number=row.number,
        choices=row.params,
        architecture=space.decode(row.params),
        cost=attrs.cost,
        state=row.state,
        accuracy=attrs.accuracy,
        score=row.value,
        steps=row.steps,
        reason=attrs.reason,
        seconds=attrs.seconds,
        retries=attrs.retries,
    )


_COST: TypeAdapter[Cost] = TypeAdapter(Cost)


class _TrialAttrs(BaseModel):
    cost: Cost
    accuracy: Accuracy | None
    reason: str
    seconds: float
    retries: int = 0


_ATTRS: TypeAdapter[_TrialAttrs] = TypeAdapter(_TrialAttrs)
