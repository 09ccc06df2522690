"""Parallel computations on this machine, whose results do not depend on the number of processes."""

from __future__ import annotations

import multiprocessing
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol, TypeVar

from nas.evaluation.worker import (
    describe_exit,
    environment_variables,
    initialize_worker,
    send_to_worker,
    start_worker,
)

Advance = Callable[[int], None]
"""Reports that so many more steps of a computation are done."""

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Environment variables that numerical libraries read when they are loaded."""

R_co = TypeVar("R_co", covariant=True)


class Computation(Protocol[R_co]):
    """A picklable description of what to compute."""

    def compute(self, advance: Advance) -> R_co:
        """Compute and return the result, which must be picklable."""
        ...


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a computation; the message says how, in one line."""


def compute_in_parallel(
    tasks: Sequence[Computation[R_co]], jobs: int, advance: Advance
) -> list[R_co]:
    """Compute all tasks in ``jobs`` worker processes and return the results in the tasks' order.

    Each process has one thread, since sums over several threads differ in their last bits. With
    one job, too, the tasks run in a process of their own.

    Args:
        tasks: what to compute.
        jobs: number of processes.
        advance: called in this process with what the tasks report.

    Raises:
        WorkerDied: a worker process was killed, for example for lack of memory.
        Exception: the first exception that a task raised.
    """
    results: dict[int, R_co] = {}
    waiting = deque(enumerate(tasks))
    workers: list[tuple[BaseProcess, Connection]] = []
    busy: dict[Connection, tuple[BaseProcess, int]] = {}
    context = multiprocessing.get_context("spawn")
    try:
        for _ in range(min(jobs, len(tasks))):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_run_worker, args=(theirs,), daemon=True)
            with environment_variables(_ONE_THREAD):
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
                    raise WorkerDied(describe_exit(process.exitcode)) from None
                if kind == "steps":
                    advance(value)
                elif kind == "error":
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
    if not send_to_worker(connection, task):
        process.join(5)
        raise WorkerDied(describe_exit(process.exitcode))


def _run_worker(connection: Connection) -> None:
    initialize_worker()
    while True:
        try:
            task: Computation[object] = connection.recv()
        except EOFError:
            return
        try:
            answer = ("result", task.compute(lambda steps: connection.send(("steps", steps))))
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            answer = ("error", error)
        connection.send(answer)
