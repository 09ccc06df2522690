"""One architecture evaluated: what a search knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
        cost: measured before anything was trained.
        state: ``stopped``: given up early because it was weak; ``failed``: see ``reason``.
        accuracy: None unless finished.
        score: what the objective makes of it, higher is better; None unless finished.
        steps: intermediate values, higher is better, by step.
        reason: why it failed, one line; empty otherwise.
        seconds: wall time of its evaluation.
        retries: so often it was begun again, since a worker or a node had died.
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
    return [_trial(rows[number], space) for number in sorted(rows)]


def row_cost(row: StudyRow) -> Cost:
    """Return the cost of the network that a row of a search's study is of.

    Raises:
        InputError: the row has none.
    """
    return validate(_COST, row.attrs.get("cost"), f"study: trial {row.number}: cost")


def _record(trial: Trial) -> StudyRow:
    return StudyRow(
        number=trial.number,
        params=trial.choices,
        state=trial.state,
        value=trial.score,
        steps=trial.steps,
        attrs={
            "architecture": trial.architecture.name,
            "cost": trial.cost.to_dict(),
            # Again, as numbers of their own: dashboards sort and draw by them.
            "flops": trial.cost.flops,
            "params": trial.cost.params,
            **({} if trial.accuracy is None else {"accuracy_mean": trial.accuracy.mean}),
            "accuracy": None if trial.accuracy is None else trial.accuracy.to_dict(),
            "reason": trial.reason,
            "seconds": trial.seconds,
            **({"retries": trial.retries} if trial.retries else {}),
        },
    )


_COST: TypeAdapter[Cost] = TypeAdapter(Cost)


class _Attrs(BaseModel):
    cost: Cost
    accuracy: Accuracy | None
    reason: str
    seconds: float
    retries: int = 0


_ATTRS: TypeAdapter[_Attrs] = TypeAdapter(_Attrs)


def _trial(row: StudyRow, space: SearchSpace) -> Trial:
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
