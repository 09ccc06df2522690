"""A proxy that measures nothing, at once: its accuracies are a function's."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from nas.accuracy import Accuracy
from nas.networks.architecture import Architecture
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace

Value = Callable[[Architecture, int], float]
"""The accuracy of an architecture, given the seed."""

Fault = Callable[[Architecture, int], None]
"""What goes wrong in an evaluation: raises, kills the process, or does nothing."""


def hashed(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone, on every machine."""
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return int(digest[:8], 16) / 2**32


def hashed_accuracy(arch: Architecture, seed: int) -> float:
    """Return an accuracy that depends on the architecture and the seed, but on nothing else."""
    return hashed(arch.key(), seed)


class ToyProxy:
    """A proxy for tests: instant, without images, and as faulty as a test needs it.

    It records what it is asked; in parallel processes each copy of it records its own.

    Args:
        value: the accuracy, or the loss if the capabilities rank by loss. For parallel processes
            a function of a module, so that it can be pickled.
        steps: so many intermediate values are reported, rising to the accuracy, before the
            evaluation ends; it ends early when it is told to stop.
        fault: called after these steps, unless the evaluation was told to stop.
        pause: seconds that an evaluation takes.
        standard_error: of every accuracy.
        capabilities: what the proxy declares.

    Attributes:
        prepared: the arguments of each call of ``prepare``.
        evaluated: the architectures, in the order of the evaluations.
        seeds: the seeds, in the same order.
    """

    def __init__(
        self,
        value: Value = hashed_accuracy,
        *,
        steps: int = 0,
        fault: Fault | None = None,
        pause: float = 0.0,
        standard_error: float = 0.0,
        capabilities: ProxyCapabilities | None = None,
    ) -> None:
        self.value = value
        self.steps = steps
        self.fault = fault
        self.pause = pause
        self.standard_error = standard_error
        self.capabilities = capabilities or ProxyCapabilities()
        self.prepared: list[tuple[SearchSpace, Budget, Path]] = []
        self.evaluated: list[Architecture] = []
        self.seeds: list[int] = []

    @property
    def keys(self) -> list[str]:
        """The keys of the architectures, in the order of the evaluations."""
        return [arch.key() for arch in self.evaluated]

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Record the arguments."""
        self.prepared.append((space, budget, folder))

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return the accuracy that the function gives."""
        self.evaluated.append(arch)
        self.seeds.append(seed)
        time.sleep(self.pause)
        value = self.value(arch, seed)
        if self.capabilities.rank_by == "loss":
            accuracy = Accuracy(0.5, self.standard_error, seeds=(seed,), loss=value)
        else:
            accuracy = Accuracy(value, self.standard_error, seeds=(seed,))
        for step in range(1, self.steps + 1):
            if report(step, value * step / self.steps):
                return accuracy
        if self.fault is not None:
            self.fault(arch, seed)
        return accuracy


def raising(problem: BaseException) -> Fault:
    """Return a fault that raises."""

    def fault(arch: Architecture, seed: int) -> None:
        raise problem

    return fault


def killing(number: int = signal.SIGKILL) -> Fault:
    """Return a fault that kills the process of the evaluation by a signal."""

    def fault(arch: Architecture, seed: int) -> None:
        os.kill(os.getpid(), number)

    return fault
