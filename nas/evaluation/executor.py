"""Engines: what runs evaluations, the tasks that they take, and the outcomes that they return."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ValidationError

from nas.accuracy import Accuracy
from nas.errors import Interrupted
from nas.files import describe
from nas.networks.architecture import Architecture
from nas.proxies.protocol import Proxy, capabilities_of

RETRIES = 3
"""How often an evaluation is restarted when its worker or node dies (``ray``)."""


@dataclass(frozen=True)
class Task:
    """An evaluation for an engine. The outcome depends on nothing else.

    Attributes:
        number: identifies it among those that run.
        architecture: what to evaluate.
        seed: for the proxy.
        floors: by step; an evaluation stops where its intermediate value is below the floor.
    """

    number: int
    architecture: Architecture
    seed: int
    floors: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task.

    Attributes:
        number: of the task.
        accuracy: None where it failed or was stopped.
        steps: intermediate values by step.
        stopped: whether it was stopped early.
        error: why it failed, in one line; empty where it did not.
        seconds: how long it took.
        retries: how often it was restarted because its worker or node had died.
    """

    number: int
    accuracy: Accuracy | None
    steps: tuple[tuple[int, float], ...]
    stopped: bool
    error: str
    seconds: float
    retries: int = 0


class Engine(Protocol):
    """Where evaluations run."""

    slots: int
    """How many tasks run at the same time."""

    def submit(self, task: Task) -> None:
        """Take a task; at most ``slots`` at a time."""
        ...

    def next(self) -> Outcome:
        """Wait for the next task to end, in any order."""
        ...

    def close(self) -> None:
        """End what is running, at once."""
        ...


def run_task(proxy: Proxy, task: Task) -> Outcome:
    """Evaluate a task; whatever the proxy raises, ``sys.exit`` too, becomes the outcome's error.

    Only the user's wish to stop is passed on.
    """
    steps: list[tuple[int, float]] = []
    stopped = False

    def report(step: int, value: float) -> bool:
        nonlocal stopped
        value = float(value)
        if math.isfinite(value):
            steps.append((int(step), value))
            stopped = stopped or value < task.floors.get(int(step), -math.inf)
        return stopped

    start = time.perf_counter()
    accuracy: Accuracy | None = None
    error = ""
    try:
        accuracy = proxy.evaluate(task.architecture, seed=task.seed, report=report)
        if not isinstance(accuracy, Accuracy):
            error = f"the proxy returned {type(accuracy).__name__}, not an Accuracy"
        elif accuracy.loss is None and capabilities_of(proxy).rank_by == "loss":
            error = "the proxy ranks by loss and returned an Accuracy without one"
    except Interrupted:
        raise
    except (Exception, SystemExit) as problem:
        error = reason(problem)
    if error or stopped:
        accuracy = None
    return Outcome(
        task.number,
        accuracy,
        tuple(sorted(dict(steps).items())),
        stopped and not error,
        error,
        time.perf_counter() - start,
    )


def failed_outcome(task: Task, error: str, retries: int = 0) -> Outcome:
    """Return the outcome of a task that failed, after so many restarts."""
    return Outcome(task.number, None, (), False, error, 0.0, retries)


def reason(problem: BaseException) -> str:
    """Return an exception as one line of at most 300 characters."""
    if isinstance(problem, ValidationError):
        text = f"{problem.title}: {describe(problem)}"
    else:
        text = f"{type(problem).__name__}: {problem}"
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:297] + "..."
