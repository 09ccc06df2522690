"""Several networks measured with the same seeds, a round each, in a study and resumable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import TypeAdapter

from nas.accuracy import Accuracy
from nas.evaluation.executor import Engine, Task
from nas.evaluation.objective import Objective
from nas.evaluation.scheduler import Planned, evaluate
from nas.evaluation.study import Study
from nas.evaluation.study_row import Param, StudyRow
from nas.files import validate
from nas.networks.architecture import Architecture
from nas.seeding import derived_seed

_ACCURACY: TypeAdapter[Accuracy] = TypeAdapter(Accuracy)

OnEvaluation = Callable[[int, int], None]
"""Called with each evaluation as soon as it is on disk: how many of about how many."""


class SeededRuns:
    """Evaluations of networks, each by (round, network); a round has one seed for all.

    Every evaluation is in the study before it counts; a study that has some is continued.

    Args:
        networks: what is measured; the study is of these, in this order, and of no others.
        study: where evaluations are kept.
        engine: where they run.
        objective: what a score is, by accuracy or by loss; costs do not count.
        seed: of all.
        purpose: in a word; other purposes have other seeds.
        params: what the study says of each network.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
        total: about how many evaluations there will be.
        on_evaluation: told after each.
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

    def run(self, turn: int, which: Sequence[int]) -> bool:
        """Evaluate those of a round that are not yet; False where the time ended before."""
        planned = [self._planned(turn, index) for index in which]
        self._rows |= self._study.rows()  # other drivers may have been faster
        for row in evaluate(planned, self._study, self._engine, self._objective, self._deadline):
            self._rows[row.number] = row
            if self._on_evaluation is not None:
                self._on_evaluation(len(self._rows), max(self._total, len(self._rows)))
        return all(one.task.number in self._rows for one in planned)

    def scores(self, index: int, rounds: int | None = None) -> dict[int, float]:
        """Return a network's scores by round, of the first so many or of all."""
        return {
            turn: row.value
            for turn, row in self._of(index).items()
            if row.value is not None and (rounds is None or turn < rounds)
        }

    def accuracies(self, index: int) -> dict[int, Accuracy]:
        """Return what was measured of a network, by round."""
        return {
            turn: validate(_ACCURACY, row.attrs["accuracy"], f"study: trial {row.number}: accuracy")
            for turn, row in self._of(index).items()
            if row.attrs["accuracy"]
        }

    def reason(self, index: int) -> str:
        """Return why an evaluation of a network failed first; empty where none did."""
        rows = self._of(index).values()
        return next((row.attrs["reason"] for row in rows if row.attrs["reason"]), "")

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
            {} if self._params is None else self._params[index],
            {"architecture": network.name},
        )
