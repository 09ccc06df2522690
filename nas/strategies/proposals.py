"""The evaluations of a search: each is proposed from the trials before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas.accuracy import Accuracy
from nas.evaluation.executor import Task
from nas.evaluation.objective import Objective
from nas.evaluation.source import Planned
from nas.evaluation.study_row import Param, StudyRow
from nas.evaluation.trial import Trial, network_attrs, trial_of
from nas.networks.cost import measure_cost
from nas.seeding import derived_seed
from nas.spaces.search_space import SearchSpace
from nas.strategies.proposer import Proposer
from nas.strategies.pruning import StopFloors

OnTrial = Callable[[Trial], None]


class Proposals:
    """The source of a search's evaluations (see :class:`nas.evaluation.source.Source`).

    Trial ``n`` is proposed from the trials up to ``n - lag``, never from whichever happen to be
    done: so parallel runs, too, are decided by the seed alone.

    Args:
        space: what may be chosen.
        proposer: proposes new networks within the budget.
        objective: what a trial's score is.
        rows: what the study has already, by number. Also of rows with higher numbers than are asked
            for, or with gaps before them, as a killed run with several jobs leaves them, no network
            is proposed again.
        total: trials in all.
        lag: 1 with one job. With more it is twice the jobs, which keeps all of them busy while a
            slow trial is waited for.
        seed: of the search; the proposer has the same.
        early_stopping: whether weak trials are stopped.
        on_trial: called with every trial as soon as it is on disk.

    Attributes:
        numbers: of all trials, in their order.
        trials: those that are on disk, by number.
    """

    def __init__(
        self,
        space: SearchSpace,
        proposer: Proposer,
        objective: Objective,
        rows: Mapping[int, StudyRow],
        *,
        total: int,
        lag: int,
        seed: int,
        early_stopping: bool = True,
        on_trial: OnTrial | None = None,
    ) -> None:
        self._space = space
        self._proposer = proposer
        self._objective = objective
        self._seed = seed
        self._early_stopping = early_stopping
        self._on_trial = on_trial
        self.numbers = range(total)
        self.lag = lag
        self.trials = {number: trial_of(row, space) for number, row in sorted(rows.items())}
        self._history: list[Trial] = []
        self._floors = StopFloors()
        self._seen = {trial.architecture.key() for trial in self.trials.values()}

    def plan(self, number: int) -> Planned | None:
        """Return a new network's evaluation; None where the space has no further one."""
        choices = self._proposer.propose(number, self._history, self._seen)
        return None if choices is None else self.restore(number, choices)

    def restore(self, number: int, params: Mapping[str, Param]) -> Planned:
        """Return the evaluation of the network that somebody has proposed."""
        architecture = self._space.decode(params)
        return Planned(
            Task(
                number,
                architecture,
                derived_seed(self._seed, "trial", number),
                self._floors.by_step() if self._early_stopping else {},
            ),
            architecture.key(),
            params,
            network_attrs(architecture, measure_cost(architecture)),
        )

    def score(self, planned: Planned, accuracy: Accuracy) -> float:
        """Return what the search maximises."""
        return self._objective.score(accuracy, measure_cost(planned.task.architecture))

    def exclude(self, key: str) -> None:
        """Propose a network no more."""
        self._seen.add(key)

    def add(self, row: StudyRow) -> None:
        """Take in a trial that is on disk."""
        trial = self.trials[row.number] = trial_of(row, self._space)
        self._seen.add(trial.architecture.key())
        if self._on_trial is not None:
            self._on_trial(trial)

    def learn(self, row: StudyRow) -> None:
        """Let later proposals depend on a trial."""
        trial = self.trials[row.number]
        self._history.append(trial)
        self._floors.add(trial)
