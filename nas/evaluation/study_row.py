"""A row of a study, and its form as a trial of Optuna's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from nas.files import validate

if TYPE_CHECKING:
    import optuna

Param = int | float | str
"""The value of a parameter."""

State = Literal["finished", "stopped", "failed"]
"""How an evaluation ended; ``stopped``: early, since it was weak."""


@dataclass(frozen=True)
class StudyRow:
    """One row of a study: an evaluation that ended.

    Attributes:
        number: its place in the order of proposals; the key of a row.
        params: what was chosen, by name.
        state: how the evaluation ended.
        value: what the study maximises; None unless finished.
        steps: intermediate values by step.
        attrs: anything else, JSON values only.
        written_at: when it was written, in seconds since 1970; None where that is unknown.
    """

    number: int
    params: Mapping[str, Param]
    state: State
    value: float | None
    steps: tuple[tuple[int, float], ...]
    attrs: Mapping[str, Any]
    written_at: float | None = field(default=None, compare=False)


def row_to_trial(
    row: StudyRow, distributions: Mapping[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    """Return a row as a trial of Optuna's.

    Args:
        row: what to convert.
        distributions: of the study's parameters, by name.
    """
    import optuna

    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[_OPTUNA_STATES[row.state]],
        value=row.value,
        params=dict(row.params),
        distributions={name: distributions[name] for name in row.params},
        user_attrs={"number": row.number, **row.attrs},
        intermediate_values=dict(row.steps),
    )


def row_from_trial(trial: optuna.trial.FrozenTrial, study: str) -> StudyRow:
    """Return a trial of Optuna's as a row.

    Args:
        trial: what to convert.
        study: the words for its study, for messages.

    Raises:
        InputError: the trial was not made by :func:`row_to_trial`.
    """
    attrs = dict(trial.user_attrs)
    state = trial.state.name
    value = trial.value if state == "COMPLETE" else None
    own = {"state": state, "value": value, "steps": trial.intermediate_values}
    source = f"{study} was not written by this program: trial {trial.number}"
    validated = validate(_ATTRS, attrs | own, source)
    del attrs["number"]
    return StudyRow(
        number=validated.number,
        params=trial.params,
        state=_STATES[state],
        value=value,
        steps=tuple(sorted(trial.intermediate_values.items())),
        attrs=attrs,
        written_at=None if trial.datetime_complete is None else trial.datetime_complete.timestamp(),
    )


_OPTUNA_STATES: Mapping[State, str] = {
    "finished": "COMPLETE",
    "stopped": "PRUNED",
    "failed": "FAIL",
}
_STATES = {theirs: ours for ours, theirs in _OPTUNA_STATES.items()}

_Count = Annotated[int, Field(strict=True, ge=0, lt=10**9)]
_Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _RowAttrs(BaseModel):
    """The validated attributes of a row; it may have others."""

    number: _Count
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    value: _Finite | None
    steps: dict[int, _Finite]
    architecture: str = ""
    cost: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None
    reason: str | None = None
    seconds: Annotated[_Finite, Field(ge=0)] = 0.0
    retries: _Count = 0


_ATTRS: TypeAdapter[_RowAttrs] = TypeAdapter(_RowAttrs)
