"""Computations beside each other: the same results for any number of processes, none left over."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from nas.errors import InputError
from nas.evaluation.process_pool import Advance, WorkerDied, compute_in_parallel
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Square:
    number: int

    def compute(self, advance: Advance) -> int:
        time.sleep(0.02 * (self.number % 3))  # they end in another order than they began in
        advance(self.number)
        return self.number**2


@dataclass(frozen=True)
class Environment:
    def compute(self, advance: Advance) -> tuple[int, str | None]:
        return os.getpid(), os.environ.get("OMP_NUM_THREADS")


@dataclass(frozen=True)
class Wrong:
    kind: type[Exception]

    def compute(self, advance: Advance) -> None:
        raise self.kind("seven is not accepted")


@dataclass(frozen=True)
class Suicide:
    def compute(self, advance: Advance) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Endless:
    path: Path

    def compute(self, advance: Advance) -> None:
        self.path.touch()
        threading.Event().wait()  # for ever


def nothing(steps: int) -> None:
    pass


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_results_are_in_order(jobs: int) -> None:
    told: list[int] = []
    assert compute_in_parallel([Square(n) for n in range(7)], jobs, told.append) == [
        *(0, 1, 4, 9, 16, 25, 36),
    ]
    assert sorted(told) == list(range(7))
    assert multiprocessing.active_children() == []


def test_nothing_to_do() -> None:
    assert compute_in_parallel([], 2, nothing) == []


def test_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    [(pid, threads)] = compute_in_parallel([Environment()], 1, nothing)
    assert pid != os.getpid()
    assert threads == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    compute_in_parallel([Environment()], 1, nothing)
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("kind", [InputError, ZeroDivisionError])
def test_what_a_task_raises_is_raised(kind: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(kind, match="seven is not accepted") as caught:
        compute_in_parallel([Square(1), Wrong(kind), Endless(tmp_path / "a")], 2, nothing)
    assert "in compute" in "".join(caught.value.__notes__)
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_an_error() -> None:
    with pytest.raises(WorkerDied, match="SIGKILL"):
        compute_in_parallel([Square(1), Suicide()], 2, nothing)
    assert multiprocessing.active_children() == []


@dataclass(frozen=True)
class Large:
    content: bytes

    def compute(self, advance: Advance) -> None: ...


def test_a_worker_that_dies_before_it_has_its_task_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nas.evaluation.process_pool._run_worker", sys.exit)
    with pytest.raises(WorkerDied, match="status 1"):
        compute_in_parallel([Large(bytes(1_000_000))], 1, nothing)
    assert multiprocessing.active_children() == []


def test_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    def interrupt_when_all_run() -> None:
        wait_until(lambda: all(task.path.exists() for task in tasks), "both tasks run")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    tasks = [Endless(tmp_path / "a"), Endless(tmp_path / "b")]
    thread = threading.Thread(target=interrupt_when_all_run)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            compute_in_parallel(tasks, 2, nothing)
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, before)
    assert multiprocessing.active_children() == []
