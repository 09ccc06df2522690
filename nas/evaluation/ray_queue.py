"""The evaluations that the search submits and Ray Tune runs; their states are in ``ray_engine``.

Nothing here imports ray, and nothing here is sent to a worker.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from nas.errors import InputError
from nas.evaluation.executor import RETRIES, Outcome, Task, failed_outcome

MAX_FAILED_STARTS = 6
"""Workers that may die in a row before they are ready; then their proxy is unusable."""

_NEXT_TASK_WAIT = 0.05
"""Seconds for which Tune waits for the next task after an outcome; else it asks every 0.1 s."""

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class EngineState:
    """What the queue knows of an engine; guarded by the queue's lock.

    Attributes:
        number: tells it from all other engines of this process, closed ones included.
        name: of its proxy, for messages.
        proxy: reference to the proxy in Ray's object store; None when the engine is closed.
        outcomes: what has ended and was not returned yet.
        failed_starts: workers that died before they were ready, since the last that was.
        problem: why workers cannot use the proxy; empty while none is known.
        closed: whether the engine is closed, so that nobody waits for its evaluations.
    """

    number: int
    name: str
    proxy: Any
    outcomes: deque[Outcome] = field(default_factory=deque)
    failed_starts: int = 0
    problem: str = ""
    closed: bool = False


@dataclass(eq=False)
class RayEvaluation:
    """One attempt at a task; guarded by the queue's lock.

    Attributes:
        task: what to evaluate.
        engine: whose task it is.
        deaths: how many workers have died in the middle of this task.
        started: whether a worker is ready and evaluates it.
        reused: whether it was given a worker that has evaluated before.
    """

    task: Task
    engine: EngineState
    deaths: int = 0
    started: bool = False
    reused: bool = False


class TuneRunEnded(Exception):
    """Raised in Tune's thread to end its run without the final report on all trials."""


class EvaluationQueue:
    """Evaluations between the search's thread and Tune's; every method holds the lock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # its lock guards all that follows
        self._waiting: deque[RayEvaluation] = deque()
        self._placed: dict[str, RayEvaluation] = {}  # by the id of the trial
        self._outcome_arrived = False
        self._ending = False
        self._problem: str | None = None

    # Called by the search's thread.

    def submit(self, evaluation: RayEvaluation) -> None:
        """Add an evaluation."""
        with self._changed:
            self._waiting.append(evaluation)
            self._changed.notify_all()

    def poll(self, engine: EngineState, timeout: float) -> Outcome | None:
        """Return an engine's next outcome, or None if there is none within ``timeout`` seconds.

        Raises:
            InputError: workers cannot use the engine's proxy.
            RuntimeError: the run of Tune has ended.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: engine.outcomes or engine.problem or self._problem is not None, timeout
            )
            if engine.outcomes:
                return engine.outcomes.popleft()
            if engine.problem:
                raise InputError(
                    f"{engine.name}: a worker of Ray cannot start with it ({engine.problem}); "
                    "accepted: a proxy that all nodes can import"
                )
            if self._problem is not None:
                raise RuntimeError(f"ray: the run of Ray Tune has ended: {self._problem}")
            return None

    def close(self, engine: EngineState) -> None:
        """Drop all evaluations of an engine."""
        with self._changed:
            engine.closed = True
            engine.proxy = None
            engine.outcomes.clear()
            self._waiting = deque(one for one in self._waiting if one.engine is not engine)
            self._changed.notify_all()

    def end(self) -> None:
        """Drop all evaluations, and have Tune end when its workers have ended."""
        with self._changed:
            self._ending = True
            self._waiting.clear()
            for evaluation in self._placed.values():
                evaluation.engine.closed = True
            self._changed.notify_all()

    # Called by Tune's thread.

    def take(self, trial_id: str) -> RayEvaluation | None:
        """Return the next evaluation and remember it as what the trial runs; None: none waits.

        Blocks while Tune has nothing else to do, and for a moment after an outcome, since the
        search often submits its next task then.

        Raises:
            TuneRunEnded: the queue has ended and no trial is left.
        """
        with self._changed:
            if not self._placed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
            elif self._outcome_arrived:
                self._changed.wait_for(lambda: self._waiting or self._ending, _NEXT_TASK_WAIT)
            self._outcome_arrived = False
            if self._ending and not self._placed:
                raise TuneRunEnded
            if not self._waiting:
                return None
            evaluation = self._placed[trial_id] = self._waiting.popleft()
            return evaluation

    def is_dropped(self, trial_id: str) -> bool:
        """Return whether a trial runs an evaluation whose engine is closed."""
        with self._changed:
            return trial_id in self._placed and self._placed[trial_id].engine.closed

    def reuse_worker(self, trial_id: str) -> None:
        """Note that a trial was given a worker that has evaluated before."""
        with self._changed:
            self._placed[trial_id].reused = True

    def start(self, trial_id: str) -> None:
        """Note that the worker of a trial is ready."""
        with self._changed:
            evaluation = self._placed[trial_id]
            evaluation.started = True
            evaluation.engine.failed_starts = 0
            logger.debug("evaluation %d runs on a Ray worker", evaluation.task.number)

    def finish(self, trial_id: str, outcome: Outcome) -> None:
        """Pass the outcome of a trial to its engine."""
        with self._changed:
            evaluation = self._placed.pop(trial_id)
            if not evaluation.engine.closed:
                evaluation.engine.outcomes.append(replace(outcome, retries=evaluation.deaths))
            self._outcome_arrived = True
            self._changed.notify_all()

    def reject_proxy(self, trial_id: str, problem: str) -> None:
        """Note that a worker could not load the proxy of a trial."""
        with self._changed:
            self._placed.pop(trial_id).engine.problem = problem
            self._outcome_arrived = True
            self._changed.notify_all()

    def remove(self, trial_id: str) -> None:
        """Note that Tune has removed a trial before it had a worker, as its engine is closed."""
        with self._changed:
            self._placed.pop(trial_id, None)

    def lose(self, trial_id: str, problem: str) -> None:
        """Queue the evaluation of a trial again, first in line, since its worker has died.

        After ``RETRIES`` restarts it is a failure of the evaluation; after ``MAX_FAILED_STARTS``
        new workers that were never ready, one of the proxy.
        """
        with self._changed:
            lost = self._placed.pop(trial_id, None)
            if lost is None or lost.engine.closed:
                return
            engine, deaths = lost.engine, lost.deaths + lost.started
            if deaths > RETRIES:
                error = f"its worker died {deaths} times"
                engine.outcomes.append(failed_outcome(lost.task, error, lost.deaths))
            else:
                logger.warning("evaluation %d is restarted: %s", lost.task.number, problem)
                self._waiting.appendleft(RayEvaluation(lost.task, engine, deaths))
            if not lost.started and not lost.reused:
                engine.failed_starts += 1
                if engine.failed_starts == MAX_FAILED_STARTS:
                    engine.problem = problem
            self._changed.notify_all()

    def fail(self, problem: str) -> None:
        """Note that the run of Tune has ended, and why."""
        with self._changed:
            self._problem = problem
            self._changed.notify_all()
