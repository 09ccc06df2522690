"""What an engine is handed, and what it hands back."""

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
"""So often an evaluation is begun again whose worker, or node, has died (``ray``)."""


@dataclass(frozen=True)
class Task:
    """One evaluation to do. The outcome depends on nothing else.

    Attributes:
        number: whatever tells it from the others.
        architecture: what to evaluate.
        seed: for the proxy.
        floors: an evaluation whose intermediate value at a step is below the floor stops there.
    """

    number: int
    architecture: Architecture
    seed: int
    floors: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a task; ``error`` is one line, empty where there was none.

    ``retries``: so often it was begun again, since its worker or node had died.
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
