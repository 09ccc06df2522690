"""What runs in a worker process of Ray Tune, and how a task gets there."""

from __future__ import annotations

import pickle
import shutil
import signal
import weakref
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune

from nas.evaluation.executor import Task, failed_outcome, reason, run_task
from nas.evaluation.ray_queue import RayEvaluation

OUTCOME = "outcome"
"""Key of a result: the outcome of the task; None where the proxy could not be loaded."""

PROXY_ERROR = "proxy_error"
"""Key of a result: why the proxy could not be loaded; empty where it was."""


def trial_config(evaluation: RayEvaluation, threads: int) -> dict[str, Any]:
    """Return the config of the trial that runs an evaluation, with so many threads of torch."""
    return {"payload": TrialPayload(evaluation), "threads": threads}


@dataclass(frozen=True)
class WorkerInput:
    """A payload as a worker receives it: the number of the engine, its proxy and the task."""

    engine: int
    proxy: Any
    task: Task


class TrialPayload(str):
    """An evaluation in a trial's config; it is pickled as a :class:`WorkerInput`.

    Tune copies and prints the config of a trial, writes it to disk, and keeps it until its run
    ends. To Tune this is therefore a short string, and it does not keep the evaluation alive.
    """

    _evaluation: weakref.ref[RayEvaluation]

    def __new__(cls, evaluation: RayEvaluation) -> TrialPayload:
        """Return the payload of an evaluation."""
        payload = str.__new__(cls, f"{evaluation.engine.name}, {evaluation.task.number}")
        payload._evaluation = weakref.ref(evaluation)
        return payload

    def __deepcopy__(self, memo: Any) -> TrialPayload:
        return self

    def __reduce__(self) -> Any:
        evaluation = self._evaluation()
        if evaluation is None:  # it has ended
            return str, (str(self),)
        engine = evaluation.engine
        return WorkerInput, (engine.number, engine.proxy, evaluation.task)


class EvaluationTrainable(tune.Trainable):
    """Evaluates one task a trial; keeps the proxy until a trial of another engine comes."""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare a new worker process for its first trial."""
        torch.set_num_threads(config["threads"])
        # Ray's handler raises SystemExit, which would end an evaluation as a failure of its own.
        # By default the signal ends the process, and the evaluation is restarted elsewhere.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._engine = 0
        self._load(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare a used worker process for its next trial."""
        self._load(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Evaluate the task."""
        if self._proxy_error:
            return {OUTCOME: None, PROXY_ERROR: self._proxy_error}
        outcome = run_task(self._proxy, self._task)
        try:
            pickle.dumps(outcome)
        except Exception as error:
            outcome = failed_outcome(self._task, reason(error))
        return {OUTCOME: outcome, PROXY_ERROR: ""}

    def _load(self, config: dict[str, Any]) -> None:
        received: WorkerInput = config["payload"]
        self.config = {}  # Tune would send it back with each result
        shutil.rmtree(self.logdir, ignore_errors=True)
        self._task = received.task
        if received.engine == self._engine:
            return
        self._engine = received.engine
        self._proxy_error = ""
        self._proxy: Any = None  # free its memory before the next one is loaded
        try:
            self._proxy = ray.get(received.proxy)
        except Exception as error:
            self._proxy_error = reason(error)
