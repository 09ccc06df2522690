"""What all worker processes share: who may interrupt them, when they end, and how they died."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler


def start_worker(process: BaseProcess) -> None:
    """Start a worker process.

    It takes over what is blocked here, so that neither Ctrl-C nor SIGTERM can reach it before it
    has learned to leave them to the driver. One that came meanwhile is raised when it has started,
    and as nobody knows it yet, nobody else would end it.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    resource_tracker.ensure_running()  # as it starts, it unblocks them
    try:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException:
        if process.pid is not None:
            process.kill()
        raise


@contextmanager
def environment(more: Mapping[str, str]) -> Iterator[None]:
    """Have these variables set, for this process and those that start in here."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def begin_worker() -> None:
    """Do first of all in a worker: signals are the driver's to handle, and its end is the worker's.

    Who ends a job may send SIGTERM to all its processes: a worker that died of it before the driver
    had its own would be a failed trial. A driver that is killed cannot end its workers: each
    watches it and ends itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def sent(connection: Connection, what: object) -> bool:
    """Send something to a worker; False: its process is dead.

    Not with the process as it starts: that waits forever for one that died before it read all.
    """
    content = ForkingPickler.dumps(what)  # an OSError of its own is no dead process
    try:
        connection.send_bytes(content)
    except OSError:
        return False
    return True


def how_died(exitcode: int | None) -> str:
    """Return in words how a worker ended that was not asked to."""
    if exitcode is not None and exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = f"signal {-exitcode}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker process died of {name}{hint}"
    return f"the worker process ended with status {exitcode}"


def _die_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
