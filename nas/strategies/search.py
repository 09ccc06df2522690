"""The search: networks are proposed, evaluated and recorded; the best within the budget is found.

A search is resumed by reading the trials that are done, and going on.

Where several drivers share a study in a database, each takes the next free number, and proposes a
network from the trials that any driver has finished by then; no driver waits for another's trials
except at the end. The result then depends on the timing as well as on the seed, but no trial is
lost and no network is evaluated twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from nas.errors import EvaluationFailed, InputError
from nas.evaluation.executor import Engine
from nas.evaluation.local import local_engine
from nas.evaluation.objective import Objective, make_objective, pareto_front, ranked
from nas.evaluation.scheduler import FailureStreak, Scheduler
from nas.evaluation.study import Study
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture
from nas.proxies.protocol import Proxy, capabilities_of
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace
from nas.strategies.proposals import OnTrial, Proposals
from nas.strategies.proposer import Proposer
from nas.strategies.samplers import DEFAULT, Sampler, make_sampler

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        trials: all of them, by number.
        front: the Pareto front, accuracy against FLOPs, by FLOPs.
        baseline: the best within the budget by the objective.
        exhausted: True where the space has no further network within the budget.
        out_of_time: True where the time ended before the trials.
    """

    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    baseline: Trial
    exhausted: bool
    out_of_time: bool

    def count(self, state: str) -> int:
        """Return how many trials ended in a state."""
        return sum(trial.state == state for trial in self.trials)


def search(
    space: SearchSpace,
    budget: Budget,
    proxy: Proxy,
    *,
    trials: int = 32,
    seed: int = 0,
    storage: Path | str | None = None,
    study_name: str = "search",
    sampler: str | Sampler = DEFAULT,
    objective: str = "accuracy",
    jobs: int = 1,
    start: Sequence[Architecture] = (),
    seconds: float | None = None,
    early_stopping: bool = True,
    on_trial: OnTrial | None = None,
    on_resume: Callable[[Sequence[Trial]], None] | None = None,
    engine: Engine | None = None,
    folder: Path | None = None,
    driver: str | None = None,
) -> SearchResult:
    """Search a space for the best network within a budget.

    Args:
        space: what may be chosen.
        budget: hard limits; costs are measured before the evaluation, so no trial exceeds one.
        proxy: how accuracy is measured; ``prepare`` is called first unless an engine is given.
        trials: how many architectures to evaluate in all, failed ones included.
        seed: from which all random numbers are derived.
        storage: a folder for the study's journal, a storage URL, or None: a temporary study.
            A study that has trials already is continued.
        study_name: the study's name in the storage.
        sampler: a name of ``nas.strategies.samplers.SAMPLERS``, or a sampler.
        objective: ``accuracy`` or ``reward``.
        jobs: how many evaluations run at once, in processes of their own where more than one.
        start: networks to evaluate first; they must be in the space and within the budget.
        seconds: no trial starts that would probably end later than this.
        early_stopping: stop a trial whose intermediate values are among the weakest quarter.
        on_trial: called with every trial as soon as it is on disk.
        on_resume: called before the first trial with those that the study has already.
        engine: where evaluations run; None: this machine, with ``jobs``.
        folder: where the proxy may keep what it prepares; None: a temporary folder.
        driver: this driver's name among those that share a storage URL, 64 characters at most. A
            driver that was killed and is started again under the same name continues its trials at
            once; under another name (None: a new one), when its claims have expired.

    Raises:
        InputError: the budget cannot be met, a start is outside the space or over the budget.
        EvaluationFailed: too many failures in a row, or nothing finished.
    """
    feasible = Feasible(space, budget)
    feasible.check()
    if trials < 1:
        raise InputError(f"trials: {trials} is not accepted: at least 1")
    capabilities = capabilities_of(proxy)
    goal = make_objective(objective, budget, capabilities.rank_by)
    proposer = Proposer(
        space, budget, make_sampler(sampler) if isinstance(sampler, str) else sampler, seed, start
    )
    with TemporaryDirectory() as temporary:
        place: Path | str = Path(temporary) if storage is None else storage
        with Study(
            place, study_name, space.choices, owner=driver or uuid4().hex, metric=goal.name
        ) as study:
            if engine is None:
                proxy.prepare(space, budget, folder or Path(temporary))
            with _closing(engine or local_engine(proxy, jobs)) as running:
                rows = study.rows()
                proposals = Proposals(
                    space,
                    proposer,
                    goal,
                    rows,
                    total=trials,
                    lag=1 if running.slots == 1 else 2 * running.slots,
                    seed=seed,
                    early_stopping=early_stopping,
                    on_trial=on_trial,
                )
                if on_resume is not None:
                    on_resume([t for number, t in proposals.trials.items() if number < trials])
                scheduler = Scheduler(
                    proposals,
                    study,
                    running,
                    None if seconds is None else time.monotonic() + seconds,
                    FailureStreak(rows, tolerant=capabilities.partial),
                )
                logger.info(
                    "search of %s within %s: %d of %d trials done, sampler %s, objective %s",
                    space.name,
                    budget.name,
                    len(rows),
                    trials,
                    sampler if isinstance(sampler, str) else type(sampler).__name__,
                    goal.name,
                )
                scheduler.run()
    found = [proposals.trials[number] for number in sorted(proposals.trials)]
    return _result(found, goal, scheduler)


def _result(trials: Sequence[Trial], objective: Objective, scheduler: Scheduler) -> SearchResult:
    """Return what was found; raise :class:`EvaluationFailed` where nothing was."""
    best = ranked(trials)
    if not best:
        reasons = [trial.reason for trial in trials if trial.reason]
        if scheduler.out_of_time and not trials:
            raise EvaluationFailed("the time ended before the first trial")
        raise EvaluationFailed(
            f"none of {len(trials)} trials finished"
            + (f"; the last failed with: {reasons[-1]}" if reasons else "")
        )
    front = tuple(pareto_front(trials, objective))
    return SearchResult(tuple(trials), front, best[0], scheduler.exhausted, scheduler.out_of_time)


@contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.close()
