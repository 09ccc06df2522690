"""Rows of studies, as a search writes them."""

from nas.evaluation.executor import Outcome, Task
from nas.evaluation.scheduler import row_of
from nas.evaluation.source import Planned
from nas.evaluation.study_row import StudyRow
from nas.evaluation.trial import Trial, network_attrs


def trial_row(trial: Trial) -> StudyRow:
    """The row of a trial."""
    planned = Planned(
        Task(trial.number, trial.architecture, seed=0),
        trial.architecture.key(),
        trial.choices,
        network_attrs(trial.architecture, trial.cost),
    )
    outcome = Outcome(
        trial.number,
        trial.accuracy,
        trial.steps,
        trial.state == "stopped",
        trial.reason,
        trial.seconds,
        trial.retries,
    )
    return row_of(planned, outcome, trial.score)
