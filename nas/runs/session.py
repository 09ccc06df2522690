"""A session of a run: its state on disk, its clock, and where its evaluations run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from nas.evaluation.executor import Engine
from nas.evaluation.local import jobs_that_fit, local_engine
from nas.evaluation.objective import Objective, make_objective
from nas.evaluation.seeded_runs import SeededRuns, open_seeded_runs
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture
from nas.progress import Progress
from nas.proxies.protocol import Proxy, capabilities_of
from nas.proxies.supernet import SupernetProxy
from nas.records.result_folder import ResultFolder
from nas.records.run_state import PhaseSummary, RunState
from nas.runs.context import RunContext
from nas.runs.notes import Notes
from nas.runs.schedule import time_for

if TYPE_CHECKING:
    from nas.evaluation.ray_cluster import RayCluster

logger = logging.getLogger(__name__)
T = TypeVar("T")


class RunSession:
    """One process working on a run.

    Args:
        context: what the run is.
        folder: where it is kept.
        progress: shows how far it is.
        notes: what is said on the way.
        start: ``time.monotonic()`` when ``--time`` began.
        cluster: where evaluations run; None: on this machine.
    """

    def __init__(
        self,
        context: RunContext,
        folder: ResultFolder[RunState],
        progress: Progress,
        notes: Notes,
        start: float,
        cluster: RayCluster | None,
    ) -> None:
        self.context = context
        self.folder = folder
        self.progress = progress
        self.notes = notes
        self.cluster = cluster
        self.state = context.opening
        self._start = start
        self.save()

    # -- the state on disk ------------------------------------------------------------------------

    def save(self, **changes: Any) -> None:
        """Write ``run.json`` with some of its fields changed."""
        self.state = self.state.updated(**changes)
        self.folder.save(self.state)

    def timed(self, phase: str, work: Callable[[RunSession, T], T], results: T) -> T:
        """Return the results after a phase, and write down how long it took."""
        begin = time.monotonic()
        self.save(phase=phase)
        logger.info("phase %s begins", phase)
        try:
            return work(self, results)
        finally:
            seconds = self.state.seconds.get(phase, 0.0) + time.monotonic() - begin
            self.save(seconds={**self.state.seconds, phase: round(seconds, 1)})
            logger.info("phase %s ended after %.1f s in all", phase, seconds)

    def begin(self, phase: str, study: str, total: int) -> None:
        """Write down where a phase's evaluations are kept, for who asks how far the run is."""
        summary = PhaseSummary(study=study, total=total)
        self.save(phase=phase, phases={**self.state.phases, phase: summary})

    # -- the clock --------------------------------------------------------------------------------

    def seconds_for(self, phase: str) -> float | None:
        """Return how many seconds a phase that begins now has; None: no limit."""
        return time_for(self.context.settings, phase, time.monotonic() - self._start)

    def deadline(self, phase: str) -> float | None:
        """Return the ``time.monotonic()`` at which a phase that begins now ends; None: no limit."""
        seconds = self.seconds_for(phase)
        return None if seconds is None else time.monotonic() + seconds

    # -- evaluations ------------------------------------------------------------------------------

    def objective(self, proxy: Proxy, kind: str = "accuracy") -> Objective:
        """Return the objective of this run's evaluations by a proxy."""
        return make_objective(kind, self.context.settings.budget, capabilities_of(proxy).rank_by)

    def study(self, name: str, objective: Objective) -> Study:
        """Open a study of evaluations of a fixed list of networks."""
        storage = self.context.settings.storage or self.folder.path
        return Study(storage, name, {}, owner=self.state.driver, metric=objective.name)

    def jobs_for(self, proxy: Proxy) -> int:
        """Return how many evaluations run at once: a supernet shares more than the images."""
        if self.cluster is None and isinstance(proxy, SupernetProxy):
            shared = {"the images": proxy.data.nbytes, "the supernet": proxy.nbytes}
            return jobs_that_fit(self.context.jobs, shared, self.notes.add)
        return self.context.jobs

    def start_engine(self, proxy: Proxy, jobs: int) -> Engine:
        """Start what runs evaluations by a proxy, so many at once; the caller closes it."""
        if self.cluster is None:
            return local_engine(proxy, jobs)
        return self.cluster.engine(proxy, jobs)

    @contextmanager
    def seeded(
        self,
        phase: str,
        networks: Sequence[Architecture],
        proxy: Proxy,
        rounds: int,
        deadline: float | None,
    ) -> Iterator[SeededRuns]:
        """Yield where networks are evaluated with common seeds, with the progress shown.

        Args:
            phase: its name; also the purpose from which seeds are derived.
            networks: what is evaluated.
            proxy: how.
            rounds: seeds of each network.
            deadline: nothing starts that would probably end later.
        """
        total = rounds * len(networks)
        name = self.state.study_name(phase, *(network.key() for network in networks))
        self.begin(phase, name, total)
        objective = self.objective(proxy)
        with open_seeded_runs(
            networks,
            self.study(name, objective),
            lambda jobs: self.start_engine(proxy, jobs),
            self.jobs_for(proxy),
            objective,
            seed=self.context.settings.seed,
            purpose=phase,
            total=total,
            progress=self.progress,
            phase=phase,
            deadline=deadline,
            tolerant=capabilities_of(proxy).partial,
        ) as runs:
            yield runs
