"""A clock that goes on when a test says so."""

import pytest

import nas.evaluation.scheduler


class Clock:
    """Stands in for the module ``time``; it goes on when somebody sleeps, or says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the scheduler of evaluations read a clock that stands still."""
    clock = Clock()
    monkeypatch.setattr(nas.evaluation.scheduler, "time", clock)
    return clock
