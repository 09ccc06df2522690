"""The engine ``ray``: evaluations run as the trials of one run of Ray Tune.

The search loop decides what is evaluated, with which seed, and when an evaluation stops early, so
that a search is the same on every engine and its study is all that a resumed run needs. Tune
places the evaluations, accounts for their resources and reuses worker processes. Its own early
stopping (ASHA) is not used: it depends on the order in which results arrive, and it keeps a record
of its own, which a resumed run does not have. The loop applies the same algorithm before it
submits a task (``Task.floors``) and replays it from the study.

Modules:
    ray_cluster: the connection to a cluster, and everything that has to be undone after it.
    ray_engine: the engine, and the thread in which Tune runs (this module).
    ray_queue: the evaluations that the two threads share, and what may happen to each.
    ray_scheduler: the searcher, scheduler and callback that Tune calls.
    ray_trainable: what runs in a worker process, and what is sent there.

Threads:
    The search's thread calls :class:`RayEngine`. The thread ``ray-tune`` runs ``tune.run`` and
    with it everything in ``ray_scheduler``. They share only an ``EvaluationQueue``, and its lock
    guards the state of all evaluations and engines. What Tune and ``ray_scheduler`` hold is used by
    the thread ``ray-tune`` alone and needs no lock.

States of an evaluation (``RayEvaluation``)::

    state     held in                     event                                  next state
    --------  --------------------------  -------------------------------------  -----------
    waiting   EvaluationQueue._waiting    Tune asks the searcher for a trial     placed
                                          the engine is closed                   dropped
    placed    EvaluationQueue._placed,    its worker is ready                    running
              by trial; not started       its worker dies before it is ready     waiting
                                          the engine is closed, and Tune         dropped
                                          removes the pending trial
    running   EvaluationQueue._placed,    the worker returns an outcome          finished
              by trial; started           its worker or node dies                waiting (1)
                                          the engine is closed, and the worker   dropped
                                          is killed
    finished  EngineState.outcomes        RayEngine.next returns the outcome     -
    dropped   nowhere                     -                                      -

    (1) After RETRIES restarts: finished, with an error.

All transitions are methods of ``EvaluationQueue``, which hold its lock. The search's thread submits
evaluations, returns outcomes and, when it closes an engine, drops what waits; the thread
``ray-tune`` makes all other transitions.

States of a worker (an actor of Ray that Tune starts)::

    state     its trial in Tune           event                                  next state
    --------  --------------------------  -------------------------------------  -----------
    starting  PENDING; _unassigned, then  its process is ready                   busy
              _starting                   its process dies (2)                   dead
                                          its trial is given an idle worker      dead
    busy      RUNNING                     it returns an outcome                  idle
                                          its process or node dies               dead
                                          the engine is closed: it is killed     dead
    idle      RUNNING; in _idle           it is given to another trial           busy
                                          that fails, since it had died idle     dead
    dead      ERROR or TERMINATED         -                                      -

    (2) A failed start of the proxy; MAX_FAILED_STARTS in a row declare the proxy unusable.

``WorkerScheduler`` holds them and makes the transitions, in the thread ``ray-tune`` and without a
lock. The death of an idle worker is noticed when the worker is given to a trial, and counts neither
as a retry of that trial's evaluation nor as a failed start of its proxy.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from nas.errors import InputError, Lost
from nas.evaluation.executor import Outcome, Task, reason
from nas.evaluation.ray_queue import EngineState, EvaluationQueue, RayEvaluation, TuneRunEnded
from nas.evaluation.ray_scheduler import QueueCallback, QueueSearcher, WorkerScheduler
from nas.evaluation.ray_trainable import EvaluationTrainable
from nas.proxies.protocol import Proxy

logger = logging.getLogger(__name__)

TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output always prints where its results are written
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a proxy keep their meaning
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # by default a custom searcher has one at a time
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
"""Environment variables that Tune reads when a run of it starts."""

CAPACITY_CHECK_INTERVAL = 30.0
"""Seconds between checks of whether any node is large enough for an evaluation."""

NO_CAPACITY_TIMEOUT = 900.0
"""Seconds without any node that is large enough after which a search ends."""

_POLL_INTERVAL = 1.0
"""Seconds for which the search waits at a time, so that signals are handled in between."""

_END_TIMEOUT = 15.0
"""Seconds for which the end of Tune's thread is waited for."""

_engine_numbers = itertools.count(1)


class RayEngine:
    """Runs evaluations in worker processes that Ray Tune places on the nodes of a cluster.

    Workers are kept from one engine to the next. An evaluation whose worker or node dies is
    restarted on another worker, up to ``RETRIES`` times; its outcome holds the number of restarts.

    Args:
        run: the run of Tune of the connected cluster.
        proxy: what evaluates; it is sent to every node once.
        slots: how many evaluations run at the same time.

    Raises:
        InputError: the proxy cannot be pickled.
    """

    def __init__(self, run: TuneRun, proxy: Proxy, slots: int) -> None:
        self.slots = slots
        self._run = run
        name = f"proxy {type(proxy).__name__}"
        try:
            reference = ray.put(proxy)
        except Exception as error:
            raise InputError(
                f"{name}: cannot be sent to Ray's workers ({reason(error)}); "
                "accepted: a picklable proxy"
            ) from None
        self._state = EngineState(next(_engine_numbers), name, reference)
        logger.info("Ray engine started: %s, %d evaluations at a time", name, slots)

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._run.submit(RayEvaluation(task, self._state))

    def next(self) -> Outcome:
        """Wait for the next task to end, in any order.

        Raises:
            InputError: workers cannot start with this proxy.
            Lost: for ``NO_CAPACITY_TIMEOUT`` no node has been large enough for an evaluation.
            RuntimeError: the run of Tune has ended.
        """
        return self._run.next(self._state)

    def close(self) -> None:
        """Kill running evaluations; idle workers are kept for the next engine."""
        self._run.close(self._state)


class TuneRun:
    """One run of Tune in a thread of its own: from the first task to the end of the connection.

    Args:
        cpus: CPUs of an evaluation.
        gpus: GPUs of an evaluation; may be a fraction.
        scratch: a folder for what Tune writes; nothing in it is read again.
    """

    def __init__(self, cpus: float, gpus: float, scratch: Path) -> None:
        self._cpus, self._gpus = cpus, gpus
        self._scratch = scratch
        self._queue = EvaluationQueue()
        self._thread = threading.Thread(target=self._run_tune, name="ray-tune", daemon=True)

    def capacity(self) -> int:
        """Return how many evaluations fit on the living nodes of the cluster."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return sum(
            _node_capacity(node["Resources"], self._cpus, self._gpus)
            for node in nodes
            if node["Alive"]
        )

    def submit(self, evaluation: RayEvaluation) -> None:
        """Queue an evaluation; the first one starts Tune."""
        self._queue.submit(evaluation)
        if not self._thread.ident:
            self._thread.start()

    def next(self, engine: EngineState) -> Outcome:
        """Wait for the next outcome of an engine; errors as in :meth:`RayEngine.next`."""
        full_since: float | None = None
        checked = time.monotonic()
        while (outcome := self._queue.poll(engine, _POLL_INTERVAL)) is None:
            now = time.monotonic()
            if now - checked >= CAPACITY_CHECK_INTERVAL:
                checked = now
                full_since = None if self.capacity() else full_since or now
            if full_since is not None and now - full_since > NO_CAPACITY_TIMEOUT:
                raise Lost(
                    f"ray: for {NO_CAPACITY_TIMEOUT / 60:.0f} minutes no node has had the "
                    f"{self._cpus:g} CPUs and {self._gpus:g} GPUs of one evaluation; rerun the "
                    "command to resume when the cluster has such nodes"
                )
        return outcome

    def close(self, engine: EngineState) -> None:
        """Drop all evaluations of an engine."""
        self._queue.close(engine)

    def end(self) -> None:
        """End the run of Tune and all workers."""
        self._queue.end()
        if self._thread.ident:
            self._thread.join(_END_TIMEOUT)

    def _run_tune(self) -> None:
        problem = "the cluster is no longer connected"
        logger.debug("the run of Ray Tune begins")
        scheduler = WorkerScheduler(self._queue, self.capacity)
        try:
            tune.run(
                tune.with_resources(EvaluationTrainable, {"cpu": self._cpus, "gpu": self._gpus}),
                name=self._scratch.name,
                storage_path=str(self._scratch),
                num_samples=-1,
                search_alg=QueueSearcher(self._queue, scheduler, max(1, int(self._cpus))),
                scheduler=scheduler,
                callbacks=[QueueCallback(self._queue)],
                reuse_actors=True,
                raise_on_failed_trial=False,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                trial_dirname_creator=lambda trial: str(trial.trial_id),
                verbose=0,
            )
        except TuneRunEnded:
            pass
        except BaseException as error:
            problem = reason(error)
            logger.warning("the run of Ray Tune has ended: %s", problem)
        self._queue.fail(problem)


def _node_capacity(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """Return how many evaluations fit on a node with these resources."""
    count = int(resources.get("CPU", 0.0) / cpus + 1e-9)
    return min(count, int(resources.get("GPU", 0.0) / gpus + 1e-9)) if gpus else count
