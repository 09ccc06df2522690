"""What the worker processes of this machine share: their start, signals, messages and exit."""

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
    """Start a worker process, with SIGINT and SIGTERM blocked.

    The process inherits the mask, so neither signal can end it before it ignores both
    (:func:`initialize_worker`). A signal that arrives here in the meantime is handled when the
    process has started. If its handler raises, the process is killed, as the caller never gets to
    know it.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    resource_tracker.ensure_running()  # starting it unblocks both signals
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
def environment_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for this process and those that it starts in the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def initialize_worker() -> None:
    """Ignore SIGINT and SIGTERM, and exit when the driver does; call it first in a worker.

    Signals are handled by the driver. Ctrl-C and job schedulers send them to all processes of a
    job: a worker that died of one before the driver handled its own would be a failed trial. A
    driver that is killed cannot end its workers, so each worker watches it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_exit_with_driver, args=(parent.sentinel,), daemon=True).start()


def send_to_worker(connection: Connection, message: object) -> bool:
    """Pickle and send a message to a worker; return False if its process is dead.

    What a worker needs is sent this way and not as an argument of its process: starting a process
    blocks forever if it dies before it has read all of its arguments.
    """
    content = ForkingPickler.dumps(message)  # outside: an OSError of pickling is no dead process
    try:
        connection.send_bytes(content)
    except OSError:
        return False
    return True


def describe_exit(exitcode: int | None) -> str:
    """Return in one line how a worker process ended that should still run."""
    if exitcode is not None and exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = f"signal {-exitcode}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker process died of {name}{hint}"
    return f"the worker process ended with status {exitcode}"


def _exit_with_driver(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
