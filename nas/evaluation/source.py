"""Where evaluations come from: what a source must offer, and the source that is a fixed list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nas.accuracy import Accuracy
from nas.evaluation.executor import Task
from nas.evaluation.objective import Objective
from nas.evaluation.study_row import Param, StudyRow


@dataclass(frozen=True)
class Planned:
    """An evaluation to do.

    Attributes:
        task: what the engine is handed.
        key: no two evaluations of a study may have the same key, whoever does them.
        params: what was chosen, by name; parameters of the study.
        attrs: what else the study says of it, besides what is measured; JSON values only.
    """

    task: Task
    key: str
    params: Mapping[str, Param] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)


class TaskSource(Protocol):
    """Where evaluations come from.

    Attributes:
        numbers: of all evaluations, in the order in which they begin; the numbers of their rows.
        lag: an evaluation begins when all that are at least so many places before it have ended,
            or are with other drivers. None: it waits for none.
    """

    @property
    def numbers(self) -> Sequence[int]: ...

    @property
    def lag(self) -> int | None: ...

    def plan(self, number: int) -> Planned | None:
        """Return what an evaluation is to be; None: from now on there is nothing to evaluate."""
        ...

    def restore(self, number: int, params: Mapping[str, Param]) -> Planned:
        """Return an evaluation that a driver had begun and not finished, as it was."""
        ...

    def score(self, planned: Planned, accuracy: Accuracy) -> float:
        """Return the value of an evaluation, which the study maximises."""
        ...

    def exclude(self, key: str) -> None:
        """Plan nothing of that key any more: this driver or another one has begun it."""
        ...

    def add(self, row: StudyRow) -> None:
        """Take in a row that is new in the study, in the order in which the rows are written."""
        ...

    def learn(self, row: StudyRow) -> None:
        """Take in a row in the order of the numbers, those of earlier sessions too.

        What comes ``lag`` places later is planned after that. A row that another driver writes
        late is told when it is there.
        """
        ...


class FixedList:
    """A source of evaluations that are known from the beginning.

    Args:
        planned: in the order in which they begin.
        objective: what a score is, by accuracy or by loss; costs do not count.
        on_row: called with each row of these that is new in the study.
    """

    lag = None

    def __init__(
        self,
        planned: Iterable[Planned],
        objective: Objective,
        on_row: Callable[[StudyRow], None] = lambda row: None,
    ) -> None:
        self._planned = {one.task.number: one for one in planned}
        self.numbers = tuple(self._planned)
        self._objective = objective
        self._on_row = on_row

    def plan(self, number: int) -> Planned:
        """Return the evaluation of that number."""
        return self._planned[number]

    def restore(self, number: int, params: Mapping[str, Param]) -> Planned:
        """Return the evaluation of that number."""
        return self._planned[number]

    def score(self, planned: Planned, accuracy: Accuracy) -> float:
        """Return what stands for accuracy."""
        return self._objective.quality(accuracy)

    def exclude(self, key: str) -> None:
        """Change nothing: the list is fixed."""

    def add(self, row: StudyRow) -> None:
        """Tell of one of these; other rows are of no concern."""
        if row.number in self._planned:
            self._on_row(row)

    def learn(self, row: StudyRow) -> None:
        """Change nothing: the list is fixed."""
