"""Several networks evaluated with the same seeds, in a study, so that it can be resumed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from nas.accuracy import Accuracy, pooled
from nas.evaluation.executor import Engine, Task
from nas.evaluation.objective import Objective
from nas.evaluation.scheduler import FailureStreak, Scheduler
from nas.evaluation.source import FixedList, Planned
from nas.evaluation.study import Study
from nas.evaluation.study_row import StudyRow
from nas.files import validate
from nas.networks.architecture import Architecture
from nas.networks.cost import Cost, measure_cost
from nas.progress import ALREADY, Progress
from nas.seeding import derived_seed

logger = logging.getLogger(__name__)

_ACCURACY: TypeAdapter[Accuracy] = TypeAdapter(Accuracy)

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

OnEvaluation = Callable[[int, int], None]
"""Called after each evaluation with how many are on disk, and about how many there will be."""


@dataclass(frozen=True, config=_CONFIG)
class SeededRun:
    """One evaluation of a network.

    Attributes:
        round: in which it was evaluated, from 0; a round has one seed for all networks.
        score: what the network is ranked by; None: the evaluation failed.
        accuracy: what was measured; None: the evaluation failed.
        reason: why it failed; empty where it did not.
    """

    round: Annotated[int, Field(ge=0)]
    score: float | None
    accuracy: Accuracy | None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain data."""
        return {
            "round": self.round,
            "score": self.score,
            "accuracy": None if self.accuracy is None else self.accuracy.to_dict(),
            "reason": self.reason,
        }


@dataclass(frozen=True, config=_CONFIG)
class MeasuredNetwork:
    """A network with its evaluations.

    Attributes:
        name: of the network.
        cost: of the network.
        runs: in the order of their rounds.
    """

    name: str
    cost: Cost
    runs: tuple[SeededRun, ...]

    def scores(self, rounds: int | None = None) -> dict[int, float]:
        """Return the scores by round, of the first so many rounds or of all."""
        return {
            run.round: run.score
            for run in self.runs
            if run.score is not None and (rounds is None or run.round < rounds)
        }

    def rescored(self, objective: Objective) -> MeasuredNetwork:
        """Return the network with its scores computed again from its accuracies."""
        runs = tuple(
            replace(run, score=None if run.accuracy is None else objective.quality(run.accuracy))
            for run in self.runs
        )
        return replace(self, runs=runs)

    @property
    def accuracies(self) -> dict[int, Accuracy]:
        """What was measured, by round."""
        return {run.round: run.accuracy for run in self.runs if run.accuracy is not None}

    @property
    def accuracy(self) -> Accuracy | None:
        """What was measured, over all rounds; None: nothing."""
        found = list(self.accuracies.values())
        return pooled(found) if found else None

    @property
    def reason(self) -> str:
        """Why an evaluation failed first; empty where none did."""
        return next((run.reason for run in self.runs if run.reason), "")


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
        deadline: float | None = None,
        tolerant: bool = False,
        total: int = 0,
        on_evaluation: OnEvaluation | None = None,
    ) -> None:
        self.networks = networks
        self._study = study
        self._engine = engine
        self._objective = objective
        self._seed = seed
        self._purpose = purpose
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
        logger.debug("%s: round %d of %d networks", self._purpose, turn, len(planned))
        source = FixedList(planned, self._objective, self._take)
        Scheduler(source, self._study, self._engine, self._deadline, self._failures).run()
        return all(number in self._rows for number in source.numbers)

    def _take(self, row: StudyRow) -> None:
        self._rows[row.number] = row
        if self._on_evaluation is not None:
            self._on_evaluation(len(self._rows), max(self._total, len(self._rows)))

    def measured(self, index: int) -> MeasuredNetwork:
        """Return a network with its evaluations so far."""
        network = self.networks[index]
        count = len(self.networks)
        runs = tuple(
            _run_of(self._rows[number], number // count)
            for number in sorted(self._rows)
            if number % count == index
        )
        return MeasuredNetwork(network.name, measure_cost(network), runs)

    def all_measured(self) -> tuple[MeasuredNetwork, ...]:
        """Return all networks with their evaluations so far, in their order."""
        return tuple(self.measured(index) for index in range(len(self.networks)))

    def _planned(self, turn: int, index: int) -> Planned:
        network = self.networks[index]
        number = turn * len(self.networks) + index
        return Planned(
            Task(number, network, derived_seed(self._seed, self._purpose, turn)),
            str(number),
            {},
            {"architecture": network.name},
        )


def _run_of(row: StudyRow, turn: int) -> SeededRun:
    found = row.attrs["accuracy"]
    source = f"study: trial {row.number}: accuracy"
    accuracy = validate(_ACCURACY, found, source) if found else None
    return SeededRun(turn, row.value, accuracy, row.attrs["reason"] or "")


@contextmanager
def open_seeded_runs(
    networks: Sequence[Architecture],
    study: Study,
    start_engine: Callable[[int], Engine],
    jobs: int,
    objective: Objective,
    *,
    seed: int,
    purpose: str,
    total: int,
    progress: Progress,
    phase: str,
    deadline: float | None = None,
    tolerant: bool = False,
) -> Iterator[SeededRuns]:
    """Yield evaluations of networks with common seeds; show the progress, and close all at the end.

    Args:
        networks: what is measured.
        study: where evaluations are kept; it is closed at the end.
        start_engine: starts where they run, so many at once; it is closed at the end.
        jobs: how many run at once.
        objective: what a score is.
        seed: of all.
        purpose: in a word; other purposes have other seeds.
        total: about how many evaluations there will be.
        progress: shows how many are done.
        phase: how the progress calls them.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
        tolerant: many failures in a row do not end the evaluations.
    """
    seconds = None if deadline is None else deadline - time.monotonic()
    progress.phase(phase, total, seconds=seconds)
    already = len(study.rows())
    if already:
        progress.advance(already, ALREADY)
    # Where all is done no processes need to start.
    engine = start_engine(1 if already >= total else jobs)
    with study, closing(engine):
        yield SeededRuns(
            networks,
            study,
            engine,
            objective,
            seed=seed,
            purpose=purpose,
            deadline=deadline,
            tolerant=tolerant,
            total=total,
            on_evaluation=lambda done, total: progress.advance(1),
        )
