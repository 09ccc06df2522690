"""Computations beside each other on this machine; their number changes no result."""

from __future__ import annotations

import multiprocessing
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol, TypeVar

from nas.evaluation.worker import begin_worker, environment, how_died, sent, start_worker

Tell = Callable[[int], None]
"""Says that so many more steps of a computation are done."""

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""What computes reads these as it loads."""

R_co = TypeVar("R_co", covariant=True)


class Computation(Protocol[R_co]):
    """A picklable description of what to compute."""

    def compute(self, tell: Tell) -> R_co:
        """Compute it."""
        ...


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of its work; the message says how, in one line."""


def in_parallel(tasks: Sequence[Computation[R_co]], jobs: int, tell: Tell) -> list[R_co]:
    """Return what all tasks compute, in their order.

    They run in ``jobs`` processes of one thread each, in a process of its own also where that is
    one: sums of several threads differ in their last bits.

    Raises:
        WorkerDied: a worker was killed, for want of memory perhaps.
        Exception: what a task raised.
    """
    results: dict[int, R_co] = {}
    waiting = deque(enumerate(tasks))
    workers: list[tuple[BaseProcess, Connection]] = []
    busy: dict[Connection, tuple[BaseProcess, int]] = {}
    context = multiprocessing.get_context("spawn")
    try:
        for _ in range(min(jobs, len(tasks))):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs,), daemon=True)
            with environment(_ONE_THREAD):
                start_worker(process)
            theirs.close()
            workers.append((process, ours))
            number, task = waiting.popleft()
            busy[ours] = (process, number)
            _send(ours, task, process)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                process, number = busy[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError):
                    process.join(5)
                    raise WorkerDied(how_died(process.exitcode)) from None
                if kind == "told":
                    tell(value)
                elif kind == "failed":
                    raise value
                else:
                    results[number] = value
                    del busy[connection]
                    if waiting:
                        number, task = waiting.popleft()
                        busy[connection] = (process, number)
                        _send(connection, task, process)
    finally:
        for process, _ in workers:
            process.kill()
        for process, connection in workers:
            process.join()
            connection.close()
    return [results[number] for number in range(len(tasks))]


def _send(connection: Connection, task: Computation[object], process: BaseProcess) -> None:
    if not sent(connection, task):
        process.join(5)
        raise WorkerDied(how_died(process.exitcode))


def _work(connection: Connection) -> None:
    begin_worker()
    while True:
        try:
            task: Computation[object] = connection.recv()
        except EOFError:
            return
        try:
            answer = ("done", task.compute(lambda steps: connection.send(("told", steps))))
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            answer = ("failed", error)
        connection.send(answer)
