"""Several networks evaluated with the same seeds, in a study, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import TypeAdapter

from nas.accuracy import Accuracy
from nas.evaluation.executor import Engine, Task
from nas.evaluation.objective import Objective
from nas.evaluation.scheduler import FailureStreak, Scheduler
from nas.evaluation.source import FixedList, Planned
from nas.evaluation.study import Study
from nas.evaluation.study_row import Param, StudyRow
from nas.files import validate
from nas.networks.architecture import Architecture
from nas.seeding import derived_seed

_ACCURACY: TypeAdapter[Accuracy] = TypeAdapter(Accuracy)

OnEvaluation = Callable[[int, int], None]
"""Called after each evaluation with how many are on disk, and about how many there will be."""


class SeededRuns:
    """Evaluations of several networks in rounds; a round has one seed for all networks.

    Every evaluation is in the study before it counts; a study that has some is continued.

    Args:
        networks: what is evaluated; the study is of these, in this order, and of no others.
        study: where evaluations are kept.
        engine: where they run.
        objective: what a score is, by accuracy or by loss; costs do not count.
        seed: from which the rounds' seeds are derived.
        purpose: in a word; other purposes have other seeds.
        params: the study's parameters of each network.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
        tolerant: the proxy knows only part of the space: failures in a row do not end the run.
        total: about how many evaluations there will be.
        on_evaluation: called after each evaluation.
    """

    def __init__(
        self,
        networks: Sequence[Architecture],
        study: Study,
        engine: Engine,
        objective: Objective,
        *,
        seed: int,
        purpose: str,
        params: Sequence[Mapping[str, Param]] | None = None,
        deadline: float | None = None,
        tolerant: bool = False,
        total: int = 0,
        on_evaluation: OnEvaluation | None = None,
    ) -> None:
        self._networks = networks
        self._study = study
        self._engine = engine
        self._objective = objective
        self._seed = seed
        self._purpose = purpose
        self._params = params
        self._deadline = deadline
        self._total = total
        self._on_evaluation = on_evaluation
        self._rows = study.rows()
        self._failures = FailureStreak(self._rows, tolerant=tolerant)

    def run(self, turn: int, indices: Sequence[int]) -> bool:
        """Evaluate networks in a round, unless they have been.

        Args:
            turn: the round, from 0.
            indices: of the networks, in the order in which their evaluations begin.

        Returns:
            Whether all are evaluated; False where the time ended before.

        Raises:
            EvaluationFailed: too many evaluations in a row failed, of this round or of several.
        """
        self._rows |= self._study.rows()  # other drivers may have written some
        planned = [self._planned(turn, index) for index in indices]
        source = FixedList(planned, self._objective, self._take)
        Scheduler(source, self._study, self._engine, self._deadline, self._failures).run()
        return all(number in self._rows for number in source.numbers)

    def scores(self, index: int, rounds: int | None = None) -> dict[int, float]:
        """Return a network's scores by round; of the first ``rounds`` where that is given."""
        return {
            turn: row.value
            for turn, row in self._of(index).items()
            if row.value is not None and (rounds is None or turn < rounds)
        }

    def accuracies(self, index: int) -> dict[int, Accuracy]:
        """Return a network's accuracies by round."""
        return {
            turn: validate(_ACCURACY, row.attrs["accuracy"], f"study: trial {row.number}: accuracy")
            for turn, row in self._of(index).items()
            if row.attrs["accuracy"]
        }

    def reason(self, index: int) -> str:
        """Return why the first evaluation of a network that failed did; empty where none did."""
        rows = self._of(index).values()
        return next((row.attrs["reason"] for row in rows if row.attrs["reason"]), "")

    def _take(self, row: StudyRow) -> None:
        self._rows[row.number] = row
        if self._on_evaluation is not None:
            self._on_evaluation(len(self._rows), max(self._total, len(self._rows)))

    def _of(self, index: int) -> dict[int, StudyRow]:
        count = len(self._networks)
        return {
            number // count: self._rows[number]
            for number in sorted(self._rows)
            if number % count == index
        }

    def _planned(self, turn: int, index: int) -> Planned:
        network = self._networks[index]
        number = turn * len(self._networks) + index
        return Planned(
            Task(number, network, derived_seed(self._seed, self._purpose, turn)),
            str(number),
            {} if self._params is None else self._params[index],
            {"architecture": network.name},
        )
