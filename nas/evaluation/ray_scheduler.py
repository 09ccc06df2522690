"""What Ray Tune is given: a searcher, a scheduler and a callback, all called in Tune's thread.

They move evaluations through an ``EvaluationQueue`` and workers from trial to trial; the states of
both are described in ``ray_engine``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from nas.evaluation.executor import Outcome
from nas.evaluation.ray_queue import EvaluationQueue
from nas.evaluation.ray_trainable import OUTCOME, PROXY_ERROR, trial_config

NEW_WORKER_TIMEOUT = 30.0
"""Seconds for which a trial waits for a new worker; then it also accepts an idle one."""


class QueueSearcher(Searcher):
    """Gives Tune the evaluations of the queue, one a trial.

    Args:
        queue: of the evaluations.
        scheduler: that has to assign a worker to each trial before it is given the next.
        threads: of torch in a worker.
    """

    def __init__(self, queue: EvaluationQueue, scheduler: WorkerScheduler, threads: int) -> None:
        super().__init__()
        self._queue = queue
        self._scheduler = scheduler
        self._threads = threads

    def suggest(self, trial_id: str) -> Any:
        """Return the config of a new trial; None: there is none for now."""
        if self._scheduler.is_assigning():
            return None
        evaluation = self._queue.take(trial_id)
        return None if evaluation is None else trial_config(evaluation, self._threads)

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        """Ignored: the callback passes outcomes on."""

    def save(self, checkpoint_path: str) -> None:
        """Ignored: the study is what a resumed run reads."""

    def restore(self, checkpoint_path: str) -> None:
        """Ignored: the study is what a resumed run reads."""


class WorkerScheduler(FIFOScheduler):
    """Runs trials in the order of their creation and keeps idle workers for later trials.

    Tune itself keeps at most one idle worker and ends the others. So a trial that has returned its
    outcome is left RUNNING, with its worker, until another trial needs that worker: only then is
    it stopped, and Tune hands its worker on.

    Args:
        queue: of the evaluations.
        capacity: returns how many workers fit on the cluster.
    """

    def __init__(self, queue: EvaluationQueue, capacity: Callable[[], int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._queue = queue
        self._capacity = capacity
        self._unassigned: list[Trial] = []  # new trials without a worker
        self._starting: dict[Trial, float] = {}  # for which Tune starts a worker, since when
        self._idle: list[Trial] = []  # trials with an outcome, whose workers are idle

    def is_assigning(self) -> bool:
        """Return whether a trial has yet to be given one of the idle workers.

        Tune asks which trial to run once a step, so only one idle worker is given away a step.
        """
        return bool(self._unassigned and self._idle)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take a new trial."""
        self._unassigned.append(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Any) -> str:
        """Keep the worker of a trial that has its outcome."""
        self._idle.append(trial)
        return self.NOOP

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Forget a trial that was stopped before it had a worker."""
        self._queue.remove(trial.trial_id)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Any) -> None:
        """Remove what a stopped trial left on disk."""
        shutil.rmtree(str(trial.local_path), ignore_errors=True)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Give an idle worker to the trial that is returned; Tune starts new ones for the others.

        An idle worker goes to a trial whose new worker cannot start, else to a new trial.
        """
        self._stop_dropped(tune_controller)
        self._unassigned = [one for one in self._unassigned if one.status == Trial.PENDING]
        self._starting = {
            trial: since for trial, since in self._starting.items() if trial.status == Trial.PENDING
        }
        chosen = None
        if self._idle:
            oldest = next(iter(self._starting), None)
            if oldest is not None and self._cannot_start(oldest, tune_controller):
                chosen = oldest
                del self._starting[oldest]
            elif self._unassigned:
                chosen = self._unassigned.pop()
        self._starting |= dict.fromkeys(self._unassigned, time.monotonic())
        self._unassigned.clear()
        if chosen is not None:
            tune_controller.stop_trial(self._idle.pop())  # Tune gives its worker to `chosen`
            self._queue.reuse_worker(chosen.trial_id)
        return chosen

    def _stop_dropped(self, tune_controller: Any) -> None:
        """Stop the trials whose engines are closed."""
        for trial in list(tune_controller.get_live_trials()):
            if not self._queue.is_dropped(trial.trial_id):
                continue
            if trial.status == Trial.RUNNING:
                with suppress(Exception):  # it is dead already, or is killed in the next step
                    ray.kill(trial.temporary_state.ray_actor)
            else:
                tune_controller.stop_trial(trial)

    def _cannot_start(self, trial: Trial, tune_controller: Any) -> bool:
        """Return whether the cluster seems to have no room for a trial's new worker."""
        if time.monotonic() - self._starting[trial] > NEW_WORKER_TIMEOUT:
            return True
        workers = [one for one in tune_controller.get_live_trials() if one.status == Trial.RUNNING]
        return len(workers) >= self._capacity()


class QueueCallback(TrialProgressCallback):
    """Tells the queue what happens to trials; it replaces the callback that prints progress."""

    def __init__(self, queue: EvaluationQueue) -> None:
        self._queue = queue

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Ignored: its outcome was passed on when it arrived."""

    def on_trial_start(self, iteration: int, trials: Any, trial: Trial, **_: Any) -> None:
        """Note that a worker is ready."""
        self._queue.start(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Pass an outcome on, and take it out of what Tune keeps."""
        outcome: Outcome | None = result.pop(OUTCOME)
        error: str = result.pop(PROXY_ERROR)
        if outcome is None:
            self._queue.reject_proxy(trial.trial_id, error)
        else:
            self._queue.finish(trial.trial_id, outcome)

    def on_trial_error(self, iteration: int, trials: Any, trial: Trial, **_: Any) -> None:
        """Have an evaluation restarted whose worker has died."""
        lines = Path(str(trial.error_file)).read_text(encoding="utf-8").split("\n")
        self._queue.lose(trial.trial_id, " ".join(line for line in lines[1:] if line)[:300])
