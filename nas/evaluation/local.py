"""Engines on this machine: in this process, or in parallel processes that share the cores."""

from __future__ import annotations

import atexit
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from nas.environment import available_cores
from nas.errors import InputError
from nas.evaluation.executor import Engine, Outcome, Task, failed_outcome, run_task
from nas.evaluation.worker import describe_exit, initialize_worker, send_to_worker, start_worker
from nas.proxies.protocol import Proxy

logger = logging.getLogger(__name__)


def local_engine(proxy: Proxy, jobs: int) -> Engine:
    """Return an engine of ``jobs`` parallel processes, or of this process for one job.

    Raises:
        InputError: jobs is not positive, or the proxy cannot be sent to another process.
    """
    if jobs < 1:
        raise InputError(f"jobs: {jobs} is not accepted: at least 1")
    return InProcess(proxy) if jobs == 1 else Processes(proxy, jobs)


def default_jobs(device: str) -> int:
    """Return how many evaluations to run at once: one per core on the CPU, else one."""
    return max(1, min(8, available_cores())) if device == "cpu" else 1


def fits_shared_memory(size: int) -> bool:
    """Return whether tensors of ``size`` bytes can be shared with parallel processes.

    Containers often have 64 MiB of shared memory; a process that writes past the end is killed.
    """
    try:
        place = os.statvfs("/dev/shm")
    except OSError:
        return True  # a system that shares memory in another way
    return size * 1.2 < place.f_bavail * place.f_frsize


class InProcess:
    """One evaluation at a time, in this process."""

    slots = 1

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._waiting: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._waiting.append(task)

    def next(self) -> Outcome:
        """Evaluate the oldest task."""
        return run_task(self._proxy, self._waiting.popleft())

    def close(self) -> None:
        """Drop the waiting tasks."""
        self._waiting.clear()


class Processes:
    """Evaluations in worker processes, each with its share of the cores.

    A worker that dies takes one evaluation with it, which is reported as failed, and is replaced.
    """

    def __init__(self, proxy: Proxy, jobs: int) -> None:
        import torch.multiprocessing as multiprocessing  # shares tensors instead of copying them

        self.slots = jobs
        self._proxy = proxy
        self._threads = max(1, available_cores() // jobs)
        self._context: Any = multiprocessing.get_context("spawn")
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Task]] = {}
        # Where nobody closes it: at exit Python ends its processes by SIGTERM, and waits for them.
        atexit.register(self.close)
        self._idle.append(self._start())  # a proxy that cannot be sent fails here, not later

    def submit(self, task: Task) -> None:
        """Hand a task to an idle worker, or to a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.send(task):
                break
            self._died_idle(worker)
        else:
            worker = self._start()
            worker.send(task)  # next() reports it if the worker is dead
        self._busy[worker.connection] = (worker, task)

    def next(self) -> Outcome:
        """Wait for the first worker to answer or to die.

        Raises:
            InputError: a worker process cannot even start with this proxy.
        """
        while True:
            connection = wait(list(self._busy))[0]
            assert isinstance(connection, Connection)
            worker, task = self._busy[connection]
            try:
                outcome: Outcome | None = connection.recv()
            except (EOFError, OSError):
                del self._busy[connection]
                if worker.was_idle:
                    self._died_idle(worker)
                    self.submit(task)
                    continue
                status = worker.end()
                if not worker.taken and status is not None and status > 0:
                    raise InputError(
                        f"proxy {type(self._proxy).__name__}: a worker process ended with status "
                        f"{status} before it had begun, with the message above; accepted with "
                        "jobs > 1: a proxy that other processes can import, and in a script "
                        "'if __name__ == \"__main__\":' around what starts the search"
                    ) from None
                error = describe_exit(status)
                logger.warning(
                    "worker %s died in task %d: %s", worker.process.pid, task.number, error
                )
                return failed_outcome(task, error)
            if outcome is None:
                worker.taken += 1
                continue
            del self._busy[connection]
            self._idle.append(worker)
            return outcome

    def close(self) -> None:
        """End all workers, at once."""
        atexit.unregister(self.close)
        workers = [*self._idle, *(worker for worker, _ in self._busy.values())]
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.end()
        self._idle.clear()
        self._busy.clear()

    def _died_idle(self, worker: _Worker) -> None:
        """End a worker that died before it took a task, which is not the task's fault."""
        logger.warning("worker %s died idle; replaced", worker.process.pid)
        worker.end()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._threads), daemon=True)
        start_worker(process)
        theirs.close()
        logger.info("worker %s started with %d threads", process.pid, self._threads)
        worker = _Worker(process, ours)
        try:
            worker.send(self._proxy)  # next() reports it if the worker is dead
        except BaseException as error:
            process.kill()
            worker.end()
            if isinstance(error, OSError) or not isinstance(error, Exception):
                raise
            raise InputError(
                f"proxy {type(self._proxy).__name__}: cannot be sent to parallel processes "
                f"({type(error).__name__}: {error}); accepted with jobs > 1: a picklable proxy"
            ) from None
        return worker


class _Worker:
    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self.process = process
        self.connection = connection
        self.sent = 0
        self.taken = 0  # of what was sent: the proxy, and tasks

    @property
    def was_idle(self) -> bool:
        """Whether it has done a task before, and has not taken the one that was sent last.

        A process that is being killed accepts what it is sent for a moment.
        """
        return self.sent > 2 and self.taken < self.sent

    def send(self, what: object) -> bool:
        """Send the proxy or a task; return False where the process is dead."""
        self.sent += 1
        return send_to_worker(self.connection, what)

    def end(self) -> int | None:
        """Wait for a dying process; return its exit status."""
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.connection.close()
        return self.process.exitcode


def _work(connection: Connection, threads: int) -> None:
    import torch

    initialize_worker()
    torch.set_num_threads(threads)
    proxy: Proxy = connection.recv()
    connection.send(None)  # taken
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        connection.send(None)
        connection.send(run_task(proxy, task))


def jobs_that_fit(jobs: int, shared: Mapping[str, int], note: Callable[[str], None]) -> int:
    """Return how many parallel processes can share some tensors: as many as asked for, or one.

    Args:
        jobs: how many were asked for.
        shared: what the processes share, in words, with its size in bytes.
        note: called with a message where it is one process instead.
    """
    size = sum(shared.values())
    if jobs == 1 or fits_shared_memory(size):
        return jobs
    note(
        f"one job instead of {jobs}: {' and '.join(shared)} ({-(-size >> 20)} MiB) do not fit into "
        "shared memory (/dev/shm)"
    )
    return 1
