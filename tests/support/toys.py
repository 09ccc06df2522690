"""Toy proxies that only the project's own tests need; those of everybody are in ``nas.testing``."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nas.accuracy import Accuracy
from nas.networks.architecture import Architecture
from nas.proxies.protocol import Report
from nas.testing import ToyProxy


def half(arch: Architecture, seed: int) -> float:
    """An accuracy of 0.5, whatever the network."""
    return 0.5


class Scripted(ToyProxy):
    """In the evaluations of the given turns, counted from 0, something else happens."""

    def __init__(self, turns: Mapping[int, Callable[[], object]]) -> None:
        super().__init__()
        self.turns = turns

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Any:
        accuracy = super().evaluate(arch, seed=seed, report=report)
        turn = self.turns.get(len(self.evaluated) - 1)
        return accuracy if turn is None else turn()


def raises(problem: BaseException) -> Callable[[], object]:
    """A turn that raises."""

    def turn() -> object:
        raise problem

    return turn


def returns(value: object) -> Scripted:
    """A proxy whose first evaluation returns something else than an accuracy."""
    return Scripted({0: lambda: value})


def fate(arch: Architecture, seed: int) -> None:
    """A fault that the seed chooses; no seed but 1 to 6 does anything."""
    match seed:
        case 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case 2:
            raise ValueError("two")
        case 3:
            os._exit(3)
        case 4:
            time.sleep(300)
        case 5:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        case 6:
            sys.exit(6)


class Fated(ToyProxy):
    """The seed says what happens; what is returned says in which process it did.

    The metric is the process's id, and ``n`` its number of threads.
    """

    def __init__(self) -> None:
        super().__init__(half, fault=fate)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        import torch

        accuracy = super().evaluate(arch, seed=seed, report=report)
        return replace(accuracy, metric=str(os.getpid()), n=torch.get_num_threads())
