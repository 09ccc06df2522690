"""The loop: propose, cost, accuracy, record; resuming is reading what is done and going on.

Trial ``n`` is proposed from the trials up to ``n - lag``, never from whichever happen to be done:
so parallel runs, too, are decided by the seed alone. With one job the lag is 1; with more it is
twice the jobs, which keeps all of them busy while a slow trial is waited for.

Where several drivers share a study in a database, each claims the next number that nobody has, with
a network that nobody has, and proposes it from what is finished by then, whoever finished it: no
driver waits for another's trials but at the end. So then the seed alone no longer decides, and what
is promised is that no trial is lost and no network evaluated twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from nas.errors import InputError
from nas.evaluation.executor import Engine
from nas.evaluation.local import local_engine
from nas.evaluation.objective import make_objective
from nas.evaluation.study import Study
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture
from nas.proxies.protocol import Proxy, capabilities_of
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace
from nas.strategies.loop import OnTrial, SearchResult, _Loop
from nas.strategies.proposer import Proposer
from nas.strategies.samplers import DEFAULT, Sampler, make_sampler


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
        budget: hard limits; costs are known before anything is evaluated, so no trial exceeds one.
        proxy: how accuracy is measured; ``prepare`` is called first unless an engine is given.
        trials: how many architectures to evaluate in all, failed ones included.
        seed: decides all that is drawn.
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
        on_resume: told, before the first trial, which of them the study has already.
        engine: where evaluations run; None: this machine, with ``jobs``.
        folder: where the proxy may keep what it prepares; None: a temporary folder.
        driver: this driver's name among those that share a storage URL, 64 characters at most. One
            that was killed and comes again under its name goes on with what it was evaluating at
            once; under another (None: a new one), when its claims have expired.

    Raises:
        InputError: the budget cannot be met, a start is outside the space or over the budget.
        SearchFailed: too many failures in a row, or nothing finished.
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
                loop = _Loop(
                    space,
                    goal,
                    study,
                    running,
                    seed,
                    early_stopping,
                    capabilities.partial,
                    on_trial,
                )
                if on_resume is not None:
                    on_resume(loop.resumed(trials))
                loop.run(proposer, trials, None if seconds is None else time.monotonic() + seconds)
    return loop.result()


@contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.close()
